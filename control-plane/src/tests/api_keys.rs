//! API keys as they are answered, and who may enable one again.

use std::time::SystemTime;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::ApiKeyDisabledBy as By;
use bridge_proto::admin::v1::Role;
use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use bridge_proto::fleet::v1 as fleet;
use prost_types::Timestamp;
use tonic::Status;

use super::requests::{create_key, mask, new_key};
use super::usage::{batch, report};
use super::violations::wrong_fields;
use super::{Bridge, SignedIn};

const USER: &str = "user@example.com";
/// The last second of the year 9999, which is the last that a timestamp can say.
const LAST_SECOND: i64 = 253_402_300_799;

fn a_month_of_tokens() -> Option<fleet::KeyLimits> {
    Some(fleet::KeyLimits {
        budgets: vec![fleet::Budget {
            period: fleet::BudgetPeriod::Month.into(),
            amount: Some(fleet::budget::Amount::Tokens(1_000)),
            ..Default::default()
        }],
        ..Default::default()
    })
}

fn ending_at(seconds: i64, nanos: i32) -> admin::CreateApiKeyRequest {
    admin::CreateApiKeyRequest {
        expires_at: Some(Timestamp { seconds, nanos }),
        ..new_key("ends")
    }
}

fn client(by: &SignedIn) -> ApiKeyServiceClient<SignedIn> {
    ApiKeyServiceClient::new(by.clone())
}

async fn read(by: &SignedIn, id: &str) -> admin::ApiKey {
    let get = admin::GetApiKeyRequest { id: id.to_owned() };
    let answer = client(by).get_api_key(get).await.unwrap();
    answer.into_inner().api_key.unwrap()
}

async fn set_enabled(by: &SignedIn, id: &str, enabled: bool) -> Result<admin::ApiKey, Status> {
    let update = admin::UpdateApiKeyRequest {
        api_key: Some(admin::ApiKey {
            id: id.to_owned(),
            enabled,
            ..Default::default()
        }),
        update_mask: mask(&["enabled"]),
        revision: 0,
    };
    let answer = client(by).update_api_key(update).await?;
    Ok(answer.into_inner().api_key.unwrap())
}

async fn revoke(by: &SignedIn, id: &str) -> admin::ApiKey {
    let revoke = admin::RevokeApiKeyRequest {
        id: id.to_owned(),
        ..Default::default()
    };
    let answer = client(by).revoke_api_key(revoke).await.unwrap();
    answer.into_inner().api_key.unwrap()
}

#[tokio::test]
async fn what_makes_a_key_answers_what_is_read_later() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let once = admin::CreateApiKeyRequest {
        limits: a_month_of_tokens(),
        idempotency_key: "once".to_owned(),
        ..ending_at(LAST_SECOND, 123_456_789)
    };
    let made = create_key(&admin, once.clone()).await.unwrap();
    assert_eq!(made, read(&admin, &made.id).await);

    report(&bridge, batch(1, &made.id, "m")).await.unwrap();
    let again = create_key(&admin, once).await.unwrap();
    assert!(again.last_used_at.is_some());
    assert_eq!(again, read(&admin, &made.id).await);

    let rotate = admin::RotateApiKeyRequest {
        id: made.id,
        ..Default::default()
    };
    let answer = client(&admin).rotate_api_key(rotate).await.unwrap();
    let next = answer.into_inner().api_key.unwrap();
    assert!(next.limits.as_ref().unwrap().budgets[0].used > 0);
    assert_eq!(next, read(&admin, &next.id).await);
}

#[tokio::test]
async fn a_key_ends_at_a_time_that_can_be_written() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    for beyond in [LAST_SECOND + 1, i64::MAX] {
        let told = wrong_fields(create_key(&admin, ending_at(beyond, 0)).await);
        assert_eq!(told, ["expires_at".to_owned()].into());
    }
    let last = create_key(&admin, ending_at(LAST_SECOND, 999_999_999))
        .await
        .unwrap();
    let end = SystemTime::try_from(last.expires_at.unwrap()).unwrap();
    assert_eq!(end, crate::domain::to_the_millisecond(end));
}

#[tokio::test]
async fn what_an_admin_has_disabled_only_an_admin_or_operator_enables() {
    let bridge = Bridge::start().await;
    bridge.add_user(USER, Role::User, false).await;
    bridge
        .add_user("operator@example.com", Role::Operator, false)
        .await;
    let (admin, user) = (bridge.admin().await, bridge.signed_in(USER).await);
    let operator = bridge.signed_in("operator@example.com").await;
    let id = create_key(&user, new_key("ci")).await.unwrap().id;
    let locked = || ["api_key.enabled".to_owned()].into();

    let disabled = set_enabled(&user, &id, false).await.unwrap();
    assert_eq!(disabled.disabled_by(), By::Owner);
    let enabled = set_enabled(&user, &id, true).await.unwrap();
    assert_eq!(enabled.disabled_by(), By::Unspecified);

    for by in [&admin, &operator] {
        let disabled = set_enabled(by, &id, false).await.unwrap();
        assert_eq!((disabled.enabled, disabled.disabled_by()), (false, By::Admin));
        assert_eq!(wrong_fields(set_enabled(&user, &id, true).await), locked());
        assert_eq!(revoke(&user, &id).await.disabled_by(), By::Admin, "it stays so");
        assert!(set_enabled(by, &id, true).await.unwrap().enabled);
        assert_eq!(revoke(by, &id).await.disabled_by(), By::Admin);
        assert_eq!(wrong_fields(set_enabled(&user, &id, true).await), locked());
        assert!(set_enabled(by, &id, true).await.unwrap().enabled);
    }

    assert_eq!(revoke(&user, &id).await.disabled_by(), By::Owner);
    let revoked = revoke(&admin, &id).await;
    assert_eq!(revoked.disabled_by(), By::Admin, "a revocation holds");
    assert_eq!(wrong_fields(set_enabled(&user, &id, true).await), locked());
    assert_eq!(revoke(&admin, &id).await, revoked, "it writes nothing");
}
