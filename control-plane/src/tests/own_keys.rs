//! What an admin has set binds the users whose keys it is about.

use std::time::{Duration, SystemTime};

use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use bridge_proto::admin::v1::settings_service_client::SettingsServiceClient;
use bridge_proto::admin::v1::{self as admin, Role};
use bridge_proto::fleet::v1 as fleet;
use tonic::{Code, Status};

use super::requests::{code, create_key, mask, new_key};
use super::violations::wrong_fields;
use super::{Bridge, SignedIn};

const USER: &str = "user@example.com";

fn per_minute(requests: u32) -> Option<fleet::KeyLimits> {
    Some(fleet::KeyLimits {
        requests_per_minute: Some(requests),
        ..Default::default()
    })
}

fn a_month(tokens: u64) -> fleet::Budget {
    fleet::Budget {
        period: fleet::BudgetPeriod::Month.into(),
        amount: Some(fleet::budget::Amount::Tokens(tokens)),
        ..Default::default()
    }
}

fn at(seconds: u64) -> Option<prost_types::Timestamp> {
    let year_2100 = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    Some((year_2100 + Duration::from_secs(seconds)).into())
}

async fn set_user_keys(
    by: &SignedIn,
    max_keys: Option<u32>,
    limits: Option<fleet::KeyLimits>,
) -> admin::Settings {
    let request = admin::UpdateSettingsRequest {
        settings: Some(admin::Settings {
            user_keys: Some(admin::UserKeys { max_keys, limits }),
            ..Default::default()
        }),
        update_mask: mask(&["user_keys"]),
        revision: 0,
    };
    let mut settings = SettingsServiceClient::new(by.clone());
    let answer = settings.update_settings(request).await.unwrap();
    answer.into_inner().settings.unwrap()
}

async fn update(by: &SignedIn, key: &admin::ApiKey, paths: &[&str]) -> Result<admin::ApiKey, Status> {
    let request = admin::UpdateApiKeyRequest {
        api_key: Some(key.clone()),
        update_mask: mask(paths),
        revision: 0,
    };
    let mut keys = ApiKeyServiceClient::new(by.clone());
    let answer = keys.update_api_key(request).await?;
    Ok(answer.into_inner().api_key.unwrap())
}

async fn rotate(by: &SignedIn, key: &admin::ApiKey, overlap_s: i64) -> Result<admin::ApiKey, Status> {
    let request = admin::RotateApiKeyRequest {
        id: key.id.clone(),
        overlap: Some(prost_types::Duration {
            seconds: overlap_s,
            nanos: 0,
        }),
        ..Default::default()
    };
    let mut keys = ApiKeyServiceClient::new(by.clone());
    Ok(keys.rotate_api_key(request).await?.into_inner().api_key.unwrap())
}

#[tokio::test]
async fn users_make_keys_within_the_limits_of_the_settings() {
    let bridge = Bridge::start().await;
    bridge.add_user(USER, Role::User, false).await;
    bridge
        .add_user("operator@example.com", Role::Operator, false)
        .await;
    let (admin, user) = (bridge.admin().await, bridge.signed_in(USER).await);
    let operator = bridge.signed_in("operator@example.com").await;
    let free = create_key(&user, new_key("before there are limits"))
        .await
        .unwrap();
    assert_eq!(free.limits, None);

    let limits = Some(fleet::KeyLimits {
        requests_per_minute: Some(60),
        budgets: vec![a_month(1_000)],
        ..Default::default()
    });
    let shown = set_user_keys(&admin, None, limits.clone())
        .await
        .user_keys
        .unwrap();
    assert_eq!((shown.max_keys, shown.limits), (Some(100), limits));

    let silent = create_key(&user, new_key("as it comes"))
        .await
        .unwrap()
        .limits
        .unwrap();
    assert_eq!((silent.requests_per_minute, silent.budgets.len()), (Some(60), 1));
    let tighter = admin::CreateApiKeyRequest {
        limits: per_minute(6),
        ..new_key("tighter")
    };
    let tighter = create_key(&user, tighter).await.unwrap().limits.unwrap();
    assert_eq!((tighter.requests_per_minute, tighter.budgets.len()), (Some(6), 1));
    let wider = admin::CreateApiKeyRequest {
        name: String::new(),
        limits: Some(fleet::KeyLimits {
            requests_per_minute: Some(61),
            budgets: vec![a_month(1_001)],
            ..Default::default()
        }),
        ..new_key("")
    };
    assert_eq!(
        wrong_fields(create_key(&user, wider).await),
        ["limits.budgets[0].amount", "limits.requests_per_minute", "name"]
            .map(str::to_owned)
            .into()
    );
    for free in [&admin, &operator] {
        let request = admin::CreateApiKeyRequest {
            owner_user_id: free_owner(&user).await,
            ..new_key("of somebody who may")
        };
        assert_eq!(create_key(free, request).await.unwrap().limits, None);
    }
}

async fn free_owner(user: &SignedIn) -> String {
    let mut keys = ApiKeyServiceClient::new(user.clone());
    let list = admin::ListApiKeysRequest::default();
    let mut listed = keys.list_api_keys(list).await.unwrap().into_inner().api_keys;
    listed.remove(0).owner_user_id
}

#[tokio::test]
async fn users_make_nothing_wider_of_their_keys() {
    let bridge = Bridge::start().await;
    let owner = bridge.add_user(USER, Role::User, false).await;
    let (admin, user) = (bridge.admin().await, bridge.signed_in(USER).await);
    let request = admin::CreateApiKeyRequest {
        owner_user_id: owner.id,
        expires_at: at(100),
        allowed_models: vec!["claude-*".to_owned()],
        allowed_providers: vec!["qwen".to_owned(), "vllm".to_owned()],
        limits: per_minute(60),
        ..new_key("of an admin")
    };
    let granted = create_key(&admin, request).await.unwrap();
    let all = ["expires_at", "allowed_models", "allowed_providers", "limits"];

    let unbound = admin::ApiKey {
        expires_at: None,
        allowed_models: vec![],
        allowed_providers: vec![],
        limits: None,
        ..granted.clone()
    };
    assert_eq!(
        wrong_fields(update(&user, &unbound, &all).await),
        [
            "api_key.allowed_models",
            "api_key.allowed_providers",
            "api_key.expires_at",
            "api_key.limits.requests_per_minute"
        ]
        .map(str::to_owned)
        .into()
    );
    let wider = admin::ApiKey {
        expires_at: at(101),
        allowed_models: vec!["claude-opus-*".to_owned(), "*".to_owned()],
        allowed_providers: vec!["openai".to_owned()],
        limits: per_minute(61),
        ..granted.clone()
    };
    assert_eq!(
        wrong_fields(update(&user, &wider, &all).await),
        [
            "api_key.allowed_models[1]",
            "api_key.allowed_providers[0]",
            "api_key.expires_at",
            "api_key.limits.requests_per_minute"
        ]
        .map(str::to_owned)
        .into()
    );
    let tighter = admin::ApiKey {
        name: "mine".to_owned(),
        email: USER.to_owned(),
        enabled: false,
        expires_at: at(99),
        allowed_models: vec!["claude-opus-*".to_owned()],
        allowed_providers: vec!["vllm".to_owned()],
        limits: per_minute(59),
        ..granted.clone()
    };
    let names = ["name", "email", "enabled"];
    let all_of_it = [&names[..], &all[..]].concat();
    let mut tightened = update(&user, &tighter, &all_of_it).await.unwrap();
    assert_eq!(
        (tightened.allowed_models.len(), tightened.limits.clone()),
        (1, per_minute(59))
    );
    let back = update(&user, &granted, &all).await;
    assert_eq!(
        code(back),
        Code::InvalidArgument,
        "what stands counts, not what was"
    );
    tightened.enabled = true;
    tightened.loss_policy = admin::LossPolicy::Strict.into();
    update(&user, &tightened, &["enabled", "loss_policy"])
        .await
        .unwrap();
    update(&admin, &unbound, &all).await.unwrap();
}

#[tokio::test]
async fn a_rotated_key_is_bound_like_the_one_before() {
    let bridge = Bridge::start().await;
    let owner = bridge.add_user(USER, Role::User, false).await;
    let (admin, user) = (bridge.admin().await, bridge.signed_in(USER).await);
    let request = admin::CreateApiKeyRequest {
        owner_user_id: owner.id,
        expires_at: at(100),
        allowed_models: vec!["claude-*".to_owned()],
        limits: per_minute(60),
        ..new_key("of an admin")
    };
    let old = create_key(&admin, request).await.unwrap();
    let new = rotate(&user, &old, 0).await.unwrap();
    assert_eq!(
        (&new.limits, &new.allowed_models, &new.expires_at),
        (&old.limits, &old.allowed_models, &old.expires_at)
    );
    let revived = admin::ApiKey {
        enabled: true,
        expires_at: at(100),
        ..old.clone()
    };
    assert_eq!(
        wrong_fields(update(&user, &revived, &["enabled", "expires_at"]).await),
        ["api_key.expires_at".to_owned()].into()
    );
}

#[tokio::test]
async fn users_own_only_so_many_keys() {
    let bridge = Bridge::start().await;
    bridge.add_user(USER, Role::User, false).await;
    let (admin, user) = (bridge.admin().await, bridge.signed_in(USER).await);
    set_user_keys(&admin, Some(2), None).await;
    let once = admin::CreateApiKeyRequest {
        idempotency_key: "once".to_owned(),
        ..new_key("first")
    };
    let first = create_key(&user, once.clone()).await.unwrap();
    let second = create_key(&user, new_key("second")).await.unwrap();
    let refused = create_key(&user, new_key("third")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().starts_with("at most 2 API keys"), "{refused:?}");
    let again = create_key(&user, once).await.unwrap();
    assert_eq!(again.id, first.id, "a repetition needs no room");

    let beside = rotate(&user, &second, 60).await;
    assert_eq!(code(beside), Code::FailedPrecondition);
    let second = rotate(&user, &second, 0).await.unwrap();
    let for_them = admin::CreateApiKeyRequest {
        owner_user_id: second.owner_user_id.clone(),
        ..new_key("one more by an admin")
    };
    create_key(&admin, for_them).await.unwrap();
    set_user_keys(&admin, Some(0), None).await;
    rotate(&user, &second, 0).await.unwrap();
    let mut keys = ApiKeyServiceClient::new(user.clone());
    for id in [first.id, second.id] {
        let delete = admin::DeleteApiKeyRequest { id, revision: 0 };
        keys.delete_api_key(delete).await.unwrap();
    }
    assert_eq!(
        code(create_key(&user, new_key("none")).await),
        Code::FailedPrecondition
    );
    set_user_keys(&admin, Some(3), None).await;
    create_key(&user, new_key("room again")).await.unwrap();
}

#[tokio::test]
async fn a_repeated_create_is_answered_though_less_is_granted_by_now() {
    let bridge = Bridge::start().await;
    bridge.add_user(USER, Role::User, false).await;
    let (admin, user) = (bridge.admin().await, bridge.signed_in(USER).await);
    let once = admin::CreateApiKeyRequest {
        idempotency_key: "once".to_owned(),
        limits: per_minute(60),
        ..new_key("ci")
    };
    let made = create_key(&user, once.clone()).await.unwrap();
    set_user_keys(&admin, None, per_minute(6)).await;
    assert_eq!(create_key(&user, once.clone()).await.unwrap(), made);
    let other = admin::CreateApiKeyRequest {
        idempotency_key: "twice".to_owned(),
        ..once
    };
    assert_eq!(code(create_key(&user, other).await), Code::InvalidArgument);
}

#[tokio::test]
async fn users_make_no_more_keys_at_the_same_time() {
    let bridge = Bridge::start().await;
    bridge.add_user(USER, Role::User, false).await;
    let (admin, user) = (bridge.admin().await, bridge.signed_in(USER).await);
    set_user_keys(&admin, Some(3), None).await;
    let made = futures_util::future::join_all((0..20).map(|_| create_key(&user, new_key("ci")))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 3);
}
