//! Whether a service token opens anything. Like everything about a caller it is asked of
//! the store each time, so that what ends a token ends it with the next call.

use std::time::{Duration, SystemTime};

use super::caller::{Caller, Credential};
use crate::{
    domain::{
        audit::Actor,
        service_token::{self, ServiceToken, TokenHash, TokenId},
    },
    store::{Error, SessionChange, Store},
};

/// How exactly the last use is kept.
const USE_KEPT_EVERY: Duration = Duration::from_secs(60);
/// What an unknown id is compared with, so that it takes no less time.
const NO_HASH: TokenHash = TokenHash::from_bytes([0; 32]);

/// Who calls with a service token. It is good for nothing once its maker is gone,
/// disabled, or has a role that does not cover the token's.
pub(super) async fn verify(store: &Store, text: &str, now: SystemTime) -> Result<Option<Caller>, Error> {
    let Some((id, hash)) = service_token::read(text) else {
        return Ok(None);
    };
    let stored = store.service_token(&id).await?.map(|stored| stored.value);
    let kept = stored.as_ref().map_or(&NO_HASH, |token| &token.hash);
    let is_right = hash == *kept;
    let Some(token) = stored.filter(|token| is_right && now < token.spec.expires_at) else {
        return Ok(None);
    };
    let maker = store.user(&token.maker).await?.map(|stored| stored.value.spec);
    if !maker.is_some_and(|maker| maker.enabled && maker.role.covers(token.spec.role)) {
        return Ok(None);
    }
    keep_use(store, &token.id, now).await?;
    let ServiceToken {
        id,
        hash: _,
        maker,
        spec,
        created_at: _,
    } = token;
    Ok(Some(Caller {
        user_id: maker,
        role: spec.role,
        actor: Actor::ServiceToken {
            id,
            name: spec.name.as_str().to_owned(),
        },
        credential: Credential::ServiceToken(spec.scopes),
    }))
}

async fn keep_use(store: &Store, id: &TokenId, now: SystemTime) -> Result<(), Error> {
    let last = store.service_token_use(id).await?;
    let is_recent = |last| now.duration_since(last).is_ok_and(|since| since < USE_KEPT_EVERY);
    if last.is_some_and(is_recent) {
        return Ok(());
    }
    let used = SessionChange::RecordTokenUse(id.clone(), now);
    if let Err(error) = store.keep_sessions(vec![used]).await {
        // Reading goes on where nothing can be written.
        tracing::warn!(%error, service_token.id = %id, "the use of a service token could not be kept");
    }
    Ok(())
}
