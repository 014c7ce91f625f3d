//! What is wrong with a request is told all at once, each with its field.

use std::collections::BTreeSet;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::admin::v1::user_service_client::UserServiceClient;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::Bridge;
use super::requests::{code, mask, provider, secrets};

/// The fields that an answer says are wrong.
pub(super) fn wrong_fields<T: std::fmt::Debug>(answer: Result<T, Status>) -> BTreeSet<String> {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let violations = &details.bad_request().unwrap().field_violations;
    violations
        .iter()
        .map(|violation| violation.field.clone())
        .collect()
}

#[tokio::test]
async fn an_update_tells_all_that_is_wrong_by_field() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let mut providers = ProviderServiceClient::new(admin.clone());
    let create = admin::CreateProviderRequest {
        provider: Some(provider("qwen")),
        ..Default::default()
    };
    providers.create_provider(create).await.unwrap();
    let update = admin::UpdateProviderRequest {
        provider: Some(admin::Provider {
            api_format: 9,
            timeout: u32::MAX,
            ..provider("qwen")
        }),
        update_mask: mask(&["api_format", "timeout"]),
        secrets: secrets("a\nb"),
        revision: 0,
    };
    let expected = ["provider.api_format", "provider.timeout", "secrets.api_key"];
    assert_eq!(
        wrong_fields(providers.update_provider(update).await),
        expected.map(str::to_owned).into()
    );
    let mut users = UserServiceClient::new(admin);
    let list = admin::ListUsersRequest::default();
    let first = users.list_users(list).await.unwrap().into_inner().users.remove(0);
    let wrong = [("email", "user.email"), ("role", "user.role")];
    for (path, field) in wrong {
        let update = admin::UpdateUserRequest {
            user: Some(admin::User {
                email: "nobody".to_owned(),
                role: 0,
                ..first.clone()
            }),
            update_mask: mask(&[path]),
            revision: 0,
        };
        assert_eq!(
            wrong_fields(users.update_user(update).await),
            [field.to_owned()].into()
        );
    }
}

#[tokio::test]
async fn bad_input_is_told_by_field() {
    let bridge = Bridge::start().await;
    let mut providers = ProviderServiceClient::new(bridge.admin().await);
    let request = admin::CreateProviderRequest {
        provider: Some(admin::Provider {
            name: "Q W".to_owned(),
            base_url: "ftp://x".to_owned(),
            ..Default::default()
        }),
        secrets: Some(admin::ProviderSecrets {
            api_key: "a\nb".to_owned(),
            custom_headers: [("host".to_owned(), "x".to_owned())].into(),
        }),
        ..Default::default()
    };
    let refused = providers.create_provider(request).await;
    let expected = [
        "provider.name",
        "provider.base_url",
        "provider.models",
        "secrets.api_key",
        "secrets.custom_headers.host",
    ];
    assert_eq!(wrong_fields(refused), expected.map(str::to_owned).into());
    let unknown = admin::UpdateProviderRequest {
        provider: Some(provider("none")),
        update_mask: mask(&["name"]),
        ..Default::default()
    };
    assert_eq!(code(providers.update_provider(unknown).await), Code::NotFound);
}
