//! Knobs, model options and loss policies, asked from outside.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::admin::v1::settings_service_client::SettingsServiceClient;
use bridge_proto::fleet::v1::Dialect;
use tonic::Code;
use tonic_types::StatusExt;

use super::requests::{code, create_key, mask, new_key, provider};
use super::{Bridge, SignedIn};

/// A provider with two knobs of its own and one of its model's.
fn tuned() -> admin::Provider {
    admin::Provider {
        dialect_overrides: Some(Dialect {
            mid_system: Some("top".to_owned()),
            max_stop: Some(2),
            ..Default::default()
        }),
        model_options: vec![admin::ModelOptions {
            model: "m".to_owned(),
            context_window: Some(32_768),
            max_output_tokens: None,
            dialect_overrides: Some(Dialect {
                vision: Some(false),
                ..Default::default()
            }),
        }],
        ..provider("qwen")
    }
}

async fn created(providers: &mut ProviderServiceClient<SignedIn>) -> admin::Provider {
    let request = admin::CreateProviderRequest {
        provider: Some(tuned()),
        ..Default::default()
    };
    let answer = providers.create_provider(request).await.unwrap();
    answer.into_inner().provider.unwrap()
}

#[tokio::test]
async fn knobs_are_kept_changed_one_by_one_and_taken_back() {
    let bridge = Bridge::start().await;
    let mut providers = ProviderServiceClient::new(bridge.admin().await);
    let made = created(&mut providers).await;
    assert_eq!(
        (&made.dialect_overrides, &made.model_options),
        (&tuned().dialect_overrides, &tuned().model_options)
    );
    let get = admin::GetProviderRequest {
        name: "qwen".to_owned(),
    };
    let read = providers.get_provider(get).await.unwrap().into_inner().provider;
    assert_eq!(read, Some(made));

    let mut update = async |wire: admin::Provider, paths: &[&str]| {
        let request = admin::UpdateProviderRequest {
            provider: Some(wire),
            update_mask: mask(paths),
            ..Default::default()
        };
        let answer = providers.update_provider(request).await;
        answer.map(|answer| answer.into_inner().provider.unwrap())
    };
    let knobs = Dialect {
        prefill: Some("reject".to_owned()),
        ..Default::default()
    };
    let changed = admin::Provider {
        dialect_overrides: Some(knobs.clone()),
        ..provider("qwen")
    };
    let paths = [
        "dialect_overrides.prefill",
        "dialect_overrides.max_stop",
        "model_options",
    ];
    let after = update(changed.clone(), &paths).await.unwrap();
    let expected = Dialect {
        mid_system: Some("top".to_owned()),
        ..knobs.clone()
    };
    assert_eq!(
        (after.dialect_overrides, after.model_options),
        (Some(expected), Vec::new())
    );
    let after = update(changed, &["dialect_overrides"]).await.unwrap();
    assert_eq!(after.dialect_overrides, Some(knobs));
    let after = update(provider("qwen"), &["dialect_overrides"]).await.unwrap();
    assert_eq!(after.dialect_overrides, None);
    let unknown = update(provider("qwen"), &["dialect_overrides.colour"]).await;
    assert_eq!(code(unknown), Code::InvalidArgument);
}

#[tokio::test]
async fn a_wrong_word_is_told_with_the_right_ones() {
    let bridge = Bridge::start().await;
    let mut providers = ProviderServiceClient::new(bridge.admin().await);
    let mut wrong = tuned();
    wrong.dialect_overrides.get_or_insert_default().mid_system = Some("sideways".to_owned());
    wrong.model_options[0]
        .dialect_overrides
        .get_or_insert_default()
        .auth = Some("bearer".to_owned());
    let request = admin::CreateProviderRequest {
        provider: Some(wrong),
        ..Default::default()
    };
    let status = providers.create_provider(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    let said: Vec<_> = violations
        .iter()
        .map(|violation| (violation.field.as_str(), violation.description.as_str()))
        .collect();
    let expected = [
        (
            "provider.dialect_overrides.mid_system",
            "must be one of: user, system, developer, top",
        ),
        (
            "provider.model_options[0].dialect_overrides.auth",
            "can only be set for the whole provider",
        ),
    ];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn a_repeated_create_with_other_knobs_is_another_request() {
    let bridge = Bridge::start().await;
    let mut providers = ProviderServiceClient::new(bridge.admin().await);
    let request = |provider| admin::CreateProviderRequest {
        provider: Some(provider),
        idempotency_key: "once".to_owned(),
        ..Default::default()
    };
    providers.create_provider(request(tuned())).await.unwrap();
    providers.create_provider(request(tuned())).await.unwrap();
    let other = admin::Provider {
        dialect_overrides: None,
        ..tuned()
    };
    assert_eq!(
        code(providers.create_provider(request(other)).await),
        Code::AlreadyExists
    );
}

#[tokio::test]
async fn a_key_says_what_losses_mean_and_otherwise_the_settings_do() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let strict = admin::CreateApiKeyRequest {
        loss_policy: admin::LossPolicy::Strict.into(),
        ..new_key("strict")
    };
    let key = create_key(&admin, strict).await.unwrap();
    assert_eq!(key.loss_policy(), admin::LossPolicy::Strict);
    let unknown = admin::CreateApiKeyRequest {
        loss_policy: 9,
        ..new_key("x")
    };
    assert_eq!(code(create_key(&admin, unknown).await), Code::InvalidArgument);
    let mut keys = ApiKeyServiceClient::new(admin.clone());
    let update = admin::UpdateApiKeyRequest {
        api_key: Some(admin::ApiKey {
            id: key.id,
            ..Default::default()
        }),
        update_mask: mask(&["loss_policy"]),
        revision: 0,
    };
    let key = keys
        .update_api_key(update)
        .await
        .unwrap()
        .into_inner()
        .api_key
        .unwrap();
    assert_eq!(key.loss_policy(), admin::LossPolicy::Unspecified);

    let mut settings = SettingsServiceClient::new(admin);
    let get = admin::GetSettingsRequest {};
    let first = settings
        .get_settings(get)
        .await
        .unwrap()
        .into_inner()
        .settings
        .unwrap();
    assert_eq!(
        (first.loss_policy(), first.default_tier()),
        (admin::LossPolicy::Report, admin::Tier::Unspecified)
    );
    let mut update = async |loss_policy: i32, default_tier: i32| {
        let request = admin::UpdateSettingsRequest {
            settings: Some(admin::Settings {
                loss_policy,
                default_tier,
                ..Default::default()
            }),
            update_mask: mask(&["loss_policy", "default_tier"]),
            revision: 0,
        };
        let answer = settings.update_settings(request).await;
        answer.map(|answer| answer.into_inner().settings.unwrap())
    };
    let (silent, big) = (admin::LossPolicy::Silent, admin::Tier::Big);
    let changed = update(silent.into(), big.into()).await.unwrap();
    assert_eq!((changed.loss_policy(), changed.default_tier()), (silent, big));
    assert_eq!(
        code(update(0, 0).await),
        Code::InvalidArgument,
        "settings have to say it"
    );
    let changed = update(silent.into(), 0).await.unwrap();
    assert_eq!(changed.default_tier(), admin::Tier::Unspecified);
}
