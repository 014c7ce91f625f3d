//! Keys that take the place of others.

use std::time::{Duration, SystemTime};

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use bridge_proto::fleet::v1 as fleet;
use tonic::{Code, Status};

use super::requests::{code, create_key, mask, new_key};
use super::usage::{batch, report};
use super::{Bridge, SignedIn};

const HOUR_S: i64 = 3_600;

struct Keys(SignedIn);

impl Keys {
    fn client(&self) -> ApiKeyServiceClient<SignedIn> {
        ApiKeyServiceClient::new(self.0.clone())
    }

    async fn create(&self) -> admin::ApiKey {
        create_key(&self.0, new_key("ci")).await.unwrap()
    }

    async fn get(&self, id: &str) -> admin::ApiKey {
        let get = admin::GetApiKeyRequest { id: id.to_owned() };
        let answer = self.client().get_api_key(get).await.unwrap();
        answer.into_inner().api_key.unwrap()
    }

    async fn rotate(&self, id: &str, overlap_s: i64) -> Result<admin::ApiKey, Status> {
        let answer = self
            .client()
            .rotate_api_key(request(id, overlap_s))
            .await?
            .into_inner();
        let key = answer.api_key.unwrap();
        assert!(answer.key.contains(&key.id));
        Ok(key)
    }

    async fn update(&self, key: admin::ApiKey, path: &str) -> admin::ApiKey {
        let update = admin::UpdateApiKeyRequest {
            api_key: Some(key),
            update_mask: mask(&[path]),
            revision: 0,
        };
        let answer = self.client().update_api_key(update).await.unwrap();
        answer.into_inner().api_key.unwrap()
    }
}

fn request(id: &str, overlap_s: i64) -> admin::RotateApiKeyRequest {
    admin::RotateApiKeyRequest {
        id: id.to_owned(),
        overlap: Some(prost_types::Duration {
            seconds: overlap_s,
            nanos: 0,
        }),
        ..Default::default()
    }
}

/// Seconds from now, rounded to hours.
fn hours_left(key: &admin::ApiKey) -> Option<u64> {
    let end = SystemTime::try_from(key.expires_at?).unwrap();
    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
    Some((left + Duration::from_secs(60)).as_secs() / HOUR_S as u64)
}

#[tokio::test]
async fn a_rotated_key_goes_on_for_the_overlap() {
    let bridge = Bridge::start().await;
    let keys = Keys(bridge.admin().await);
    let old = keys.create().await;
    let new = keys.rotate(&old.id, 2 * HOUR_S).await.unwrap();
    let ending = keys.get(&old.id).await;
    assert_eq!((ending.enabled, hours_left(&ending)), (true, Some(2)));
    assert_eq!(
        (ending.successor_id.as_str(), new.successor_id.as_str()),
        (new.id.as_str(), "")
    );
    assert_eq!((new.enabled, new.expires_at), (true, None));
    keys.rotate(&new.id, 0).await.unwrap();
    let ended = keys.get(&new.id).await;
    assert_eq!((ended.enabled, hours_left(&ended)), (false, Some(0)));
}

#[tokio::test]
async fn the_newest_lives_on_however_often_a_key_is_rotated() {
    let bridge = Bridge::start().await;
    let keys = Keys(bridge.admin().await);
    let first = keys.create().await;
    let second = keys.rotate(&first.id, HOUR_S).await.unwrap();
    let tighter = admin::ApiKey {
        allowed_models: vec!["claude-*".to_owned()],
        ..second.clone()
    };
    keys.update(tighter, "allowed_models").await;
    let third = keys.rotate(&first.id, 3 * HOUR_S).await.unwrap();
    assert_eq!(third.expires_at, None);
    assert_eq!(third.allowed_models, ["claude-*"], "as the newest before it");
    let (first, second) = (keys.get(&first.id).await, keys.get(&second.id).await);
    assert_eq!((hours_left(&first), hours_left(&second)), (Some(1), Some(3)));
    assert_eq!(
        (first.successor_id, second.successor_id),
        (third.id.clone(), third.id.clone())
    );

    let fourth = keys.rotate(&first.id, 0).await.unwrap();
    let (first, second) = (keys.get(&first.id).await, keys.get(&second.id).await);
    let third = keys.get(&third.id).await;
    assert_eq!(
        (first.enabled, second.enabled, third.enabled),
        (false, true, false)
    );
    assert_eq!(fourth.expires_at, None);
}

#[tokio::test]
async fn what_is_over_is_not_rotated() {
    let bridge = Bridge::start().await;
    let keys = Keys(bridge.admin().await);
    let disabled = keys.create().await;
    let revoke = admin::RevokeApiKeyRequest {
        id: disabled.id.clone(),
        ..Default::default()
    };
    keys.client().revoke_api_key(revoke).await.unwrap();
    let refused = keys.rotate(&disabled.id, 60).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("enable it first"), "{refused:?}");

    let expired = keys.create().await;
    let past = admin::ApiKey {
        expires_at: Some(SystemTime::UNIX_EPOCH.into()),
        ..expired.clone()
    };
    keys.update(past, "expires_at").await;
    let refused = keys.rotate(&expired.id, 60).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("make a new one"), "{refused:?}");

    let old = keys.create().await;
    let new = keys.rotate(&old.id, HOUR_S).await.unwrap();
    let off = admin::ApiKey {
        enabled: false,
        ..new.clone()
    };
    keys.update(off, "enabled").await;
    let refused = keys.rotate(&old.id, 60).await.unwrap_err();
    assert!(refused.message().contains(&new.id), "{refused:?}");
    let delete = admin::DeleteApiKeyRequest {
        id: new.id.clone(),
        revision: 0,
    };
    keys.client().delete_api_key(delete).await.unwrap();
    let refused = keys.rotate(&old.id, 60).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("is gone"), "{refused:?}");
}

#[tokio::test]
async fn a_repeated_rotation_makes_nothing_even_if_the_old_key_has_ended() {
    let bridge = Bridge::start().await;
    let keys = Keys(bridge.admin().await);
    let old = keys.create().await;
    let once = admin::RotateApiKeyRequest {
        idempotency_key: "once".to_owned(),
        ..request(&old.id, 0)
    };
    let first = keys
        .client()
        .rotate_api_key(once.clone())
        .await
        .unwrap()
        .into_inner();
    let again = keys
        .client()
        .rotate_api_key(once.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first.api_key, again.api_key);
    assert!(again.secret_already_delivered && again.key.is_empty());
    let other = admin::RotateApiKeyRequest {
        idempotency_key: once.idempotency_key,
        ..request(&old.id, 60)
    };
    assert_eq!(
        code(keys.client().rotate_api_key(other).await),
        Code::AlreadyExists
    );
}

#[tokio::test]
async fn a_rotation_based_on_an_old_revision_is_aborted() {
    let bridge = Bridge::start().await;
    let keys = Keys(bridge.admin().await);
    let old = keys.create().await;
    let renamed = admin::ApiKey {
        name: "renamed".to_owned(),
        ..old.clone()
    };
    let renamed = keys.update(renamed, "name").await;
    let based_on = |revision| admin::RotateApiKeyRequest {
        revision,
        ..request(&old.id, 60)
    };
    let outdated = keys.client().rotate_api_key(based_on(old.revision)).await;
    assert_eq!(code(outdated), Code::Aborted);
    keys.client()
        .rotate_api_key(based_on(renamed.revision))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_was_spent_counts_for_the_new_key() {
    let bridge = Bridge::start().await;
    let keys = Keys(bridge.admin().await);
    let with_budget = admin::CreateApiKeyRequest {
        limits: Some(fleet::KeyLimits {
            budgets: vec![fleet::Budget {
                period: fleet::BudgetPeriod::Month.into(),
                amount: Some(fleet::budget::Amount::Tokens(1_000)),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..new_key("ci")
    };
    let old = create_key(&keys.0, with_budget).await.unwrap();
    report(&bridge, batch(1, &old.id, "m")).await.unwrap();
    let new = keys.rotate(&old.id, 0).await.unwrap();
    let (old, new) = (keys.get(&old.id).await, keys.get(&new.id).await);
    let used = |key: &admin::ApiKey| key.limits.as_ref().unwrap().budgets[0].used;
    assert!(used(&old) > 0);
    assert_eq!(used(&new), used(&old));
    assert!(old.last_used_at.is_some() && new.last_used_at.is_none());
}
