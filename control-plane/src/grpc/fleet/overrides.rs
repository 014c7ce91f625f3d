//! Breakers that an admin holds, for the time that was said.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bridge_proto::admin::v1 as admin;
use bridge_proto::fleet::v1 as fleet;

use crate::domain::breaker_override::{BreakerOverride, Draft, Held, OverrideId, Spec};
use crate::domain::user::UserId;
use crate::grpc::call::Call;
use crate::grpc::commits::Commits;
use crate::grpc::status::Error;
use crate::grpc::summary;
use crate::store::{Change, Expect, Kind, Store, Stored};

/// Reads and changes them.
#[derive(Clone)]
pub(crate) struct Overrides {
    pub(crate) store: Store,
    pub(crate) commits: Commits,
}

impl Overrides {
    /// Those that hold, by provider and model.
    pub(super) async fn list(&self, now: SystemTime) -> Result<Vec<admin::BreakerOverride>, Error> {
        let mut held = self.store.breaker_overrides().await?;
        held.retain(|held| !held.value.is_over(now));
        held.sort_by(|one, other| {
            let place = |held: &Stored<BreakerOverride>| {
                (held.value.spec.provider.clone(), held.value.spec.model.clone())
            };
            place(one).cmp(&place(other))
        });
        let users = self.store.users().await?;
        let emails: BTreeMap<UserId, String> = users
            .into_iter()
            .map(|user| (user.value.id, user.value.spec.email.as_str().to_owned()))
            .collect();
        let held = held.into_iter().map(|held| {
            let maker = emails.get(&held.value.maker).cloned();
            to_proto(held, maker.unwrap_or_default())
        });
        Ok(held.collect())
    }

    /// One that was about the same breaker is gone then.
    pub(super) async fn set(
        &self,
        call: &Call,
        request: admin::SetBreakerOverrideRequest,
    ) -> Result<admin::BreakerOverride, Error> {
        let held = BreakerOverride {
            id: OverrideId::mint(rand::random()),
            maker: call.caller.user_id,
            spec: draft(request).check(call.now).map_err(Error::Invalid)?,
            created_at: call.now,
        };
        let before = self.store.breaker_overrides().await?;
        let replaced = before
            .iter()
            .find(|older| held.replaces(&older.value) && !older.value.is_over(call.now));
        let change = Change::PutBreakerOverride(held.clone());
        let audit = call.audit(&target(&held.id)).with_summaries(
            replaced.map(|replaced| summary::breaker_override(&replaced.value)),
            Some(summary::breaker_override(&held)),
        );
        let revision = self.commits.commit(vec![change], audit).await?;
        let email = self.store.user(&held.maker).await?;
        let email = email.map(|user| user.value.spec.email.as_str().to_owned());
        let stored = Stored {
            value: held,
            revision,
        };
        Ok(to_proto(stored, email.unwrap_or_default()))
    }

    pub(super) async fn delete(&self, call: &Call, id: &str) -> Result<(), Error> {
        let id = OverrideId::parse(id).map_err(|reason| Error::invalid("id", reason.to_string()))?;
        let all = self.store.breaker_overrides().await?;
        let held = all.into_iter().find(|held| held.value.id == id);
        let held = held.ok_or_else(|| Error::NotFound {
            kind: Kind::BreakerOverride,
            id: id.to_string(),
        })?;
        let audit = call
            .audit(&target(&id))
            .with_summaries(Some(summary::breaker_override(&held.value)), None);
        let change = Change::DeleteBreakerOverride(id, Expect::Present);
        self.commits.commit(vec![change], audit).await?;
        Ok(())
    }
}

fn target(id: &OverrideId) -> String {
    format!("{}/{id}", Kind::BreakerOverride)
}

fn draft(request: admin::SetBreakerOverrideRequest) -> Draft {
    let held = match request.state() {
        fleet::BreakerState::Open => Some(Held::Open),
        fleet::BreakerState::Closed => Some(Held::Closed),
        fleet::BreakerState::HalfOpen | fleet::BreakerState::Unspecified => None,
    };
    let admin::SetBreakerOverrideRequest {
        provider,
        model,
        state: _,
        lifetime,
        reason,
    } = request;
    Draft {
        provider,
        model,
        held,
        // What is negative is refused like what is no time at all.
        lifetime: lifetime.map(|lifetime| Duration::try_from(lifetime).unwrap_or_default()),
        reason,
    }
}

fn to_proto(held: Stored<BreakerOverride>, created_by: String) -> admin::BreakerOverride {
    let Stored {
        value:
            BreakerOverride {
                id,
                maker: _,
                spec:
                    Spec {
                        provider,
                        model,
                        held,
                        expires_at,
                        reason,
                    },
                created_at,
            },
        revision,
    } = held;
    let state = match held {
        Held::Open => fleet::BreakerState::Open,
        Held::Closed => fleet::BreakerState::Closed,
    };
    admin::BreakerOverride {
        id: id.to_string(),
        provider: provider.to_string(),
        model: model.map(|model| model.as_str().to_owned()).unwrap_or_default(),
        state: state.into(),
        expires_at: Some(expires_at.into()),
        reason,
        created_by,
        created_at: Some(created_at.into()),
        revision,
    }
}
