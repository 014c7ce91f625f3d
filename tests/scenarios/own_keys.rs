//! The limits that an admin has set hold at the data plane, whatever a user does with their keys.

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::{
    CreateApiKeyRequest, CreateUserRequest, GetApiKeyRequest, Role, RotateApiKeyRequest, Settings,
    UpdateApiKeyRequest, UserKeys,
};
use bridge_proto::fleet::v1::budget::Amount;
use bridge_proto::fleet::v1::{Budget, BudgetPeriod, KeyLimits};
use bridge_tests::admin::{Admin, mask};
use bridge_tests::anthropic::{Answer, ask};
use bridge_tests::faultd::Script;
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;
use tonic::Code;

const EMAIL: &str = "user@example.com";
const PASSWORD: &str = "a horse of one's own";

/// One key for each, and 20 tokens a month.
fn little() -> UserKeys {
    let budget = Budget {
        period: BudgetPeriod::Month.into(),
        amount: Some(Amount::Tokens(20)),
        ..Budget::default()
    };
    UserKeys {
        max_keys: Some(1),
        limits: Some(KeyLimits {
            budgets: vec![budget],
            ..KeyLimits::default()
        }),
    }
}

async fn user(stage: &mut Stage) -> Result<Admin> {
    let request = CreateUserRequest {
        email: EMAIL.to_owned(),
        role: Role::User.into(),
        password: PASSWORD.to_owned(),
        name: "Ann".to_owned(),
        ..CreateUserRequest::default()
    };
    stage.admin.users().create_user(request).await?;
    let address = stage.bridge.control().admin_address();
    Admin::login_as(&address, EMAIL, PASSWORD).await
}

async fn wait_until_spent(stage: &Stage, key: &str) -> Result<Answer> {
    let client = stage.bridge.client(0, key)?;
    wait::until("the budget to be spent", || async {
        let answer = client.messages(&ask("opus", "Hi")).await.ok()?;
        (answer.status == 429).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn a_budget_of_the_settings_is_spent_whatever_its_user_does() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("one two"));
    let settings = Settings {
        user_keys: Some(little()),
        ..Settings::default()
    };
    stage.admin.update_settings(settings, "user_keys").await?;
    let user = user(&mut stage).await?;
    let (key, record) = user.create_key("my own").await?;
    stage.bridge.wait_until_accepted(&key).await?;
    let refused = wait_until_spent(&stage, &key).await?;
    ensure!(
        refused.error_message().contains("budget for the month is spent"),
        "{refused:?}"
    );
    wait::until("the control plane to have counted it", || async {
        let request = GetApiKeyRequest {
            id: record.id.clone(),
        };
        let shown = user.keys().get_api_key(request).await.ok()?.into_inner();
        (shown.api_key?.limits?.budgets.first()?.used >= 20).then_some(())
    })
    .await?;

    let request = CreateApiKeyRequest {
        name: "one more".to_owned(),
        ..CreateApiKeyRequest::default()
    };
    let more = user.keys().create_api_key(request).await;
    assert_eq!(
        more.map_err(|status| status.code()).err(),
        Some(Code::FailedPrecondition)
    );
    let mut wider = record.clone();
    wider.limits = None;
    let request = UpdateApiKeyRequest {
        api_key: Some(wider),
        update_mask: Some(mask("limits")),
        revision: 0,
    };
    let wider = user.keys().update_api_key(request).await;
    assert_eq!(
        wider.map_err(|status| status.code()).err(),
        Some(Code::InvalidArgument)
    );
    let request = RotateApiKeyRequest {
        id: record.id,
        overlap: Some(prost_types::Duration::default()),
        ..RotateApiKeyRequest::default()
    };
    let rotated = user.keys().rotate_api_key(request).await?.into_inner();
    let budgets = rotated
        .api_key
        .context("a key")?
        .limits
        .context("limits")?
        .budgets;
    assert_eq!(budgets.len(), 1);
    stage.bridge.wait_until_accepted(&rotated.key).await?;
    stage.bridge.wait_until_refused(&key).await?;
    let asked_before = stage.upstream.requests().len();
    wait_until_spent(&stage, &rotated.key).await?;
    let asked = stage.upstream.requests().len() - asked_before;
    eprintln!("figure: {asked} requests went through before the new key was known to be spent");
    Ok(())
}
