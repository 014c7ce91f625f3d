//! What a service token opens, and what ends it.

use bridge_proto::admin::v1::auth_service_client::AuthServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::admin::v1::service_token_service_client::ServiceTokenServiceClient;
use bridge_proto::admin::v1::user_service_client::UserServiceClient;
use bridge_proto::admin::v1::{self as admin, Role};
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::requests::{code, create_key, mask, new_key};
use super::{Bearer, Bridge, SignedIn};

fn new_token(role: Role, scopes: &[&str]) -> admin::CreateServiceTokenRequest {
    admin::CreateServiceTokenRequest {
        name: "nightly".to_owned(),
        role: role.into(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..Default::default()
    }
}

async fn make(
    by: &SignedIn,
    request: admin::CreateServiceTokenRequest,
) -> Result<admin::CreateServiceTokenResponse, Status> {
    let mut tokens = ServiceTokenServiceClient::new(by.clone());
    Ok(tokens.create_service_token(request).await?.into_inner())
}

impl Bridge {
    async fn with_token(&self, token: &str) -> SignedIn {
        InterceptedService::new(self.channel(self.admin).await, Bearer::new(token))
    }
}

async fn list_providers(by: &SignedIn) -> Result<(), Status> {
    let mut providers = ProviderServiceClient::new(by.clone());
    let request = admin::ListProvidersRequest::default();
    providers.list_providers(request).await.map(drop)
}

fn reason(answer: Result<(), Status>) -> String {
    let status = answer.unwrap_err();
    status.get_error_details().error_info().unwrap().reason.clone()
}

#[tokio::test]
async fn a_token_is_shown_once_and_says_when_it_was_used() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let request = admin::CreateServiceTokenRequest {
        idempotency_key: "once".to_owned(),
        ..new_token(Role::Unspecified, &["providers:read", "providers:read"])
    };
    let made = make(&admin, request.clone()).await.unwrap();
    let listed = made.service_token.unwrap();
    assert!(made.token.starts_with(&format!("bst-{}-", listed.id)));
    assert_eq!(
        (listed.role(), listed.created_by.as_str()),
        (Role::Operator, super::EMAIL)
    );
    assert_eq!(listed.scopes, ["providers:read"]);
    assert_eq!(listed.last_used_at, None);
    let again = make(&admin, request).await.unwrap();
    assert!(again.token.is_empty() && again.secret_already_delivered);
    assert_eq!(again.service_token.unwrap().id, listed.id);

    list_providers(&bridge.with_token(&made.token).await)
        .await
        .unwrap();
    let mut tokens = ServiceTokenServiceClient::new(admin);
    let get = admin::GetServiceTokenRequest { id: listed.id };
    let now = tokens.get_service_token(get).await.unwrap().into_inner();
    let now = now.service_token.unwrap();
    assert!(now.last_used_at.is_some());
    assert_eq!(now.revision, listed.revision, "use is no change");
}

#[tokio::test]
async fn a_token_does_what_its_scopes_and_its_role_both_allow() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let reader = make(&admin, new_token(Role::Operator, &["providers:read"]))
        .await
        .unwrap();
    let reader = bridge.with_token(&reader.token).await;
    list_providers(&reader).await.unwrap();
    assert_eq!(
        create_key(&reader, new_key("x")).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let mut users = UserServiceClient::new(reader.clone());
    let refused = users
        .list_users(admin::ListUsersRequest::default())
        .await
        .map(drop);
    assert_eq!(reason(refused), "SCOPE_MISSING");
    let mut auth = AuthServiceClient::new(reader.clone());
    let refused = auth.get_me(admin::GetMeRequest {}).await.map(drop);
    assert_eq!(reason(refused), "FOR_PEOPLE_ONLY");
    let more = make(&reader, new_token(Role::Operator, &["providers:write"])).await;
    assert_eq!(reason(more.map(drop)), "FOR_PEOPLE_ONLY", "it cannot make others");

    let low = make(
        &admin,
        new_token(Role::User, &["providers:read", "api_keys:write"]),
    )
    .await
    .unwrap();
    let low = bridge.with_token(&low.token).await;
    assert_eq!(reason(list_providers(&low).await), "ROLE_REFUSED");
    let key = create_key(&low, new_key("of the script")).await.unwrap();
    let me = AuthServiceClient::new(admin)
        .get_me(admin::GetMeRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(key.owner_user_id, me.user.unwrap().id, "it acts for who made it");
}

#[tokio::test]
async fn a_token_ends_with_its_deletion_and_with_its_maker() {
    let bridge = Bridge::start().await;
    let maker = bridge.add_user("maker@example.com", Role::Admin, false).await;
    let by_maker = bridge.signed_in("maker@example.com").await;
    let request = new_token(Role::Operator, &["providers:read"]);
    let (first, second) = (
        make(&by_maker, request.clone()).await.unwrap(),
        make(&by_maker, request).await.unwrap(),
    );
    let (one, two) = (
        bridge.with_token(&first.token).await,
        bridge.with_token(&second.token).await,
    );
    list_providers(&one).await.unwrap();
    let mut tokens = ServiceTokenServiceClient::new(bridge.admin().await);
    let delete = admin::DeleteServiceTokenRequest {
        id: first.service_token.unwrap().id,
        revision: 0,
    };
    tokens.delete_service_token(delete.clone()).await.unwrap();
    assert_eq!(reason(list_providers(&one).await), "TOKEN_REFUSED");
    assert_eq!(code(tokens.delete_service_token(delete).await), Code::NotFound);
    list_providers(&two).await.unwrap();

    let mut users = UserServiceClient::new(bridge.admin().await);
    let mut update = async |path: &str, enabled: bool, role: Role| {
        let request = admin::UpdateUserRequest {
            user: Some(admin::User {
                id: maker.id.clone(),
                enabled,
                role: role.into(),
                ..Default::default()
            }),
            update_mask: mask(&[path]),
            revision: 0,
        };
        users.update_user(request).await.unwrap();
    };
    update("role", true, Role::Auditor).await;
    assert_eq!(
        reason(list_providers(&two).await),
        "TOKEN_REFUSED",
        "more than its maker"
    );
    update("role", true, Role::Operator).await;
    list_providers(&two).await.unwrap();
    update("enabled", false, Role::Operator).await;
    assert_eq!(reason(list_providers(&two).await), "TOKEN_REFUSED");
    let delete = admin::DeleteUserRequest {
        id: maker.id.clone(),
        revision: 0,
    };
    users.delete_user(delete).await.unwrap();
    assert_eq!(reason(list_providers(&two).await), "TOKEN_REFUSED");
    let left = tokens
        .list_service_tokens(admin::ListServiceTokensRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((left.total_size, left.service_tokens.len()), (0, 0));
}

#[tokio::test]
async fn what_is_no_token_of_ours_opens_nothing() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let made = make(&admin, new_token(Role::Admin, &["providers:read"]))
        .await
        .unwrap()
        .token;
    let foreign = crate::domain::service_token::mint([1; 32], [2; 12]);
    let foreign = secrecy::ExposeSecret::expose_secret(&foreign.secret).to_owned();
    for bad in ["bst-", &made[..made.len() - 1], &foreign] {
        let by = bridge.with_token(bad).await;
        assert_eq!(reason(list_providers(&by).await), "TOKEN_REFUSED", "{bad}");
    }
    let refused = make(&admin, new_token(Role::Admin, &[])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
