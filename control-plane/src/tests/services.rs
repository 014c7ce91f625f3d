//! What the services promise, asked from outside.

use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use bridge_proto::admin::v1::auth_service_client::AuthServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::admin::v1::settings_service_client::SettingsServiceClient;
use bridge_proto::admin::v1::user_service_client::UserServiceClient;
use bridge_proto::admin::v1::{self as admin, Role};
use tonic::Code;

use super::requests::{code, create_key, mask, new_key, provider, secrets};
use super::{Bearer, Bridge, EMAIL, PASSWORD};

#[tokio::test]
async fn a_user_reaches_only_their_own_keys() {
    let bridge = Bridge::start().await;
    bridge.add_user("user@example.com", Role::User, false).await;
    let (admin, user) = (bridge.admin().await, bridge.signed_in("user@example.com").await);
    let foreign = create_key(&admin, new_key("of the admin")).await.unwrap();
    let own = create_key(&user, new_key("my own")).await.unwrap();

    let mut keys = ApiKeyServiceClient::new(user.clone());
    let listed = keys
        .list_api_keys(admin::ListApiKeysRequest::default())
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<_> = listed.api_keys.iter().map(|key| key.id.as_str()).collect();
    assert_eq!((ids, listed.total_size), (vec![own.id.as_str()], 1));

    let id = foreign.id.clone();
    assert_eq!(
        code(keys.get_api_key(admin::GetApiKeyRequest { id: id.clone() }).await),
        Code::NotFound
    );
    let update = admin::UpdateApiKeyRequest {
        api_key: Some(admin::ApiKey {
            id: id.clone(),
            ..Default::default()
        }),
        update_mask: mask(&["enabled"]),
        revision: 0,
    };
    assert_eq!(code(keys.update_api_key(update).await), Code::NotFound);
    let rotate = admin::RotateApiKeyRequest {
        id: id.clone(),
        ..Default::default()
    };
    assert_eq!(code(keys.rotate_api_key(rotate).await), Code::NotFound);
    let revoke = admin::RevokeApiKeyRequest {
        id: id.clone(),
        timeout: None,
        terminate_streams: false,
    };
    assert_eq!(code(keys.revoke_api_key(revoke).await), Code::NotFound);
    let delete = admin::DeleteApiKeyRequest { id, revision: 0 };
    assert_eq!(code(keys.delete_api_key(delete).await), Code::NotFound);

    let for_somebody = admin::CreateApiKeyRequest {
        owner_user_id: foreign.owner_user_id,
        ..new_key("x")
    };
    assert_eq!(
        code(create_key(&user, for_somebody).await),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn a_repeated_create_shows_no_secret_and_makes_nothing() {
    let bridge = Bridge::start().await;
    let mut keys = ApiKeyServiceClient::new(bridge.admin().await);
    let request = admin::CreateApiKeyRequest {
        idempotency_key: "once".to_owned(),
        ..new_key("ci")
    };
    let first = keys.create_api_key(request.clone()).await.unwrap().into_inner();
    assert!(first.key.starts_with("sk-bridge-") && !first.secret_already_delivered);
    let again = keys.create_api_key(request.clone()).await.unwrap().into_inner();
    assert_eq!(
        (again.api_key, again.key.as_str(), again.secret_already_delivered),
        (first.api_key, "", true)
    );
    let other = admin::CreateApiKeyRequest {
        name: "other".to_owned(),
        ..request
    };
    assert_eq!(code(keys.create_api_key(other).await), Code::AlreadyExists);
    let listed = keys
        .list_api_keys(admin::ListApiKeysRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.total_size, 1);
}

#[tokio::test]
async fn an_update_based_on_an_old_revision_is_aborted() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let key = create_key(&admin, new_key("ci")).await.unwrap();
    let mut keys = ApiKeyServiceClient::new(admin);
    let update = |name: &str, revision| admin::UpdateApiKeyRequest {
        api_key: Some(admin::ApiKey {
            id: key.id.clone(),
            name: name.to_owned(),
            ..Default::default()
        }),
        update_mask: mask(&["name"]),
        revision,
    };
    let second = keys
        .update_api_key(update("two", key.revision))
        .await
        .unwrap()
        .into_inner()
        .api_key
        .unwrap();
    assert!(second.revision > key.revision);
    assert_eq!(
        code(keys.update_api_key(update("three", key.revision)).await),
        Code::Aborted
    );
    let third = keys
        .update_api_key(update("three", 0))
        .await
        .unwrap()
        .into_inner()
        .api_key
        .unwrap();
    assert_eq!(third.name, "three");
    let read = keys
        .get_api_key(admin::GetApiKeyRequest { id: key.id })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read.api_key, Some(third), "what a change answers is what is read");
}

#[tokio::test]
async fn a_secret_is_never_answered_and_never_follows_to_another_origin() {
    const CANARY: &str = "sk-upstream-canary-0123";
    let bridge = Bridge::start().await;
    let mut providers = ProviderServiceClient::new(bridge.admin().await);
    let create = admin::CreateProviderRequest {
        provider: Some(provider("qwen")),
        secrets: secrets(CANARY),
        ..Default::default()
    };
    let made = providers
        .create_provider(create)
        .await
        .unwrap()
        .into_inner()
        .provider
        .unwrap();
    assert!(made.has_api_key && made.api_key_hint == "0123" && !format!("{made:?}").contains(CANARY));

    let moved = admin::Provider {
        base_url: "https://evil.example/v1".to_owned(),
        ..provider("qwen")
    };
    let without = admin::UpdateProviderRequest {
        provider: Some(moved),
        update_mask: mask(&["base_url"]),
        ..Default::default()
    };
    let refused = providers.update_provider(without.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("https://upstream.example:443"),
        "{}",
        refused.message()
    );
    let with = admin::UpdateProviderRequest {
        secrets: secrets("another-key"),
        ..without
    };
    assert_eq!(
        providers
            .update_provider(with)
            .await
            .unwrap()
            .into_inner()
            .provider
            .unwrap()
            .base_url,
        "https://evil.example/v1"
    );
    let unknown_path = admin::UpdateProviderRequest {
        provider: Some(provider("qwen")),
        update_mask: mask(&["name", "created_at"]),
        ..Default::default()
    };
    assert_eq!(
        code(providers.update_provider(unknown_path).await),
        Code::InvalidArgument
    );
    let test = admin::TestProviderRequest {
        name: "qwen".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        code(providers.test_provider(test).await),
        Code::FailedPrecondition,
        "no data plane is there"
    );
}

#[tokio::test]
async fn the_last_admin_stays_and_owners_of_keys_too() {
    let bridge = Bridge::start().await;
    let owner = bridge.add_user("owner@example.com", Role::User, false).await;
    create_key(&bridge.signed_in("owner@example.com").await, new_key("ci"))
        .await
        .unwrap();
    let mut users = UserServiceClient::new(bridge.admin().await);
    let listed = users
        .list_users(admin::ListUsersRequest::default())
        .await
        .unwrap()
        .into_inner()
        .users;
    let last = listed.into_iter().find(|user| user.email == EMAIL).unwrap();
    assert!(last.last_login_at.is_some());

    let disable = admin::UpdateUserRequest {
        user: Some(admin::User {
            id: last.id.clone(),
            ..Default::default()
        }),
        update_mask: mask(&["enabled"]),
        revision: 0,
    };
    assert_eq!(code(users.update_user(disable).await), Code::FailedPrecondition);
    let delete = |id: &str| admin::DeleteUserRequest {
        id: id.to_owned(),
        revision: 0,
    };
    assert_eq!(
        code(users.delete_user(delete(&last.id)).await),
        Code::FailedPrecondition
    );
    assert_eq!(
        code(users.delete_user(delete(&owner.id)).await),
        Code::FailedPrecondition
    );
    let twin = admin::CreateUserRequest {
        email: "OWNER@example.com".to_owned(),
        name: "twin".to_owned(),
        password: PASSWORD.to_owned(),
        ..Default::default()
    };
    assert_eq!(code(users.create_user(twin).await), Code::AlreadyExists);
}

#[tokio::test]
async fn a_password_is_changed_once_and_refresh_tokens_are_used_once() {
    let bridge = Bridge::start().await;
    bridge.add_user("new@example.com", Role::Operator, true).await;
    let first = bridge.login("new@example.com", PASSWORD).await.unwrap();
    assert!(first.user.unwrap().must_change_password);
    let channel = bridge.channel(bridge.admin).await;
    let mut auth = AuthServiceClient::with_interceptor(channel.clone(), Bearer::new(&first.access_token));
    let change = |current: &str, new: &str| admin::ChangePasswordRequest {
        current_password: current.to_owned(),
        new_password: new.to_owned(),
    };
    assert_eq!(
        code(
            auth.change_password(change("wrong", "another horse battery"))
                .await
        ),
        Code::InvalidArgument
    );
    assert_eq!(
        code(auth.change_password(change(PASSWORD, "admin123")).await),
        Code::InvalidArgument
    );
    let pair = auth
        .change_password(change(PASSWORD, "another horse battery"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        code(auth.get_me(admin::GetMeRequest {}).await),
        Code::Unauthenticated,
        "the old session ended"
    );

    let mut auth = AuthServiceClient::with_interceptor(channel, Bearer::new(&pair.access_token));
    auth.get_me(admin::GetMeRequest {}).await.unwrap();
    let refresh = admin::RefreshRequest {
        refresh_token: pair.refresh_token,
    };
    auth.refresh(refresh.clone()).await.unwrap();
    assert_eq!(code(auth.refresh(refresh).await), Code::Unauthenticated);
    assert_eq!(
        code(auth.get_me(admin::GetMeRequest {}).await),
        Code::Unauthenticated,
        "a copied token ends the session"
    );
}

#[tokio::test]
async fn an_operator_leaves_settings_of_security_alone() {
    let bridge = Bridge::start().await;
    bridge
        .add_user("operator@example.com", Role::Operator, false)
        .await;
    let update = |path: &str| admin::UpdateSettingsRequest {
        settings: Some(admin::Settings {
            max_attempts: 7,
            allow_query_api_key: false,
            stale_limit: 3_600,
            ..Default::default()
        }),
        update_mask: mask(&[path]),
        revision: 0,
    };
    let mut settings = SettingsServiceClient::new(bridge.signed_in("operator@example.com").await);
    let updated = settings
        .update_settings(update("max_attempts"))
        .await
        .unwrap()
        .into_inner()
        .settings
        .unwrap();
    assert_eq!((updated.max_attempts, updated.max_tokens_limit), (7, 1_000_000));
    let of_security = ["allow_query_api_key", "stale_limit"];
    for path in of_security {
        assert_eq!(
            code(settings.update_settings(update(path)).await),
            Code::PermissionDenied
        );
    }
    let mut settings = SettingsServiceClient::new(bridge.admin().await);
    for path in of_security {
        settings.update_settings(update(path)).await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_listed_by_the_id_of_a_user() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let own = create_key(&admin, new_key("ci")).await.unwrap();
    let list = async |owner: &str| {
        let request = admin::ListApiKeysRequest {
            owner_user_id: owner.to_owned(),
            ..Default::default()
        };
        let mut keys = ApiKeyServiceClient::new(admin.clone());
        keys.list_api_keys(request)
            .await
            .map(|answer| answer.into_inner().total_size)
    };
    assert_eq!(list(&own.owner_user_id).await.unwrap(), 1);
    let other = bridge.add_user("other@example.com", Role::User, false).await;
    assert_eq!(list(&other.id).await.unwrap(), 0);
    assert_eq!(code(list("somebody").await), Code::InvalidArgument);
}

#[tokio::test]
async fn a_password_is_reset_on_top_of_the_revision_that_was_read() {
    let bridge = Bridge::start().await;
    let user = bridge.add_user("user@example.com", Role::User, false).await;
    let mut users = UserServiceClient::new(bridge.admin().await);
    let reset = |revision| admin::ResetPasswordRequest {
        id: user.id.clone(),
        new_password: "another horse battery".to_owned(),
        revision,
    };
    users.reset_password(reset(user.revision)).await.unwrap();
    assert_eq!(
        code(users.reset_password(reset(user.revision)).await),
        Code::Aborted
    );
    users.reset_password(reset(0)).await.unwrap();
}
