//! Drops what is over: what is known of traffic once it is kept long enough, a little at a
//! time, holds on breakers, which data planes have ended by themselves, and what was left for
//! control planes that are gone.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::document;
use crate::domain::audit::{Actor, AuditEntry, Origin};
use crate::domain::retention::Retention;
use crate::domain::to_the_millisecond;
use crate::store::{Change, Commit, CommitError, Cursor, Expect, Kind, Store, Swept};
use crate::telemetry::Metrics;

/// How long a hold that is over is still kept, for clocks that differ.
const HOLD_KEPT: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(60);
/// Between two turns, while there is more to drop.
const BREATH: Duration = Duration::from_millis(500);

pub(crate) struct Sweeper {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
}

impl Sweeper {
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let mut cursor = Cursor::default();
        let (mut unheard, mut strays_due) = (BTreeSet::new(), Instant::now());
        loop {
            if Instant::now() >= strays_due {
                strays_due = Instant::now() + EVERY;
                match self.store.forget_strays(&unheard).await {
                    Ok(still) => unheard = still,
                    Err(error) => {
                        tracing::warn!(%error, "what was left for control planes that are gone could not be dropped");
                    }
                }
            }
            if let Err(error) = self.drop_holds(SystemTime::now()).await {
                tracing::warn!(%error, "holds on breakers that are over could not be dropped");
            }
            let pause = match self.turn(cursor.clone()).await {
                Ok(swept) => {
                    self.metrics.usage_swept.inc_by(swept.rows as u64);
                    cursor = swept.cursor;
                    if swept.has_more { BREATH } else { EVERY }
                }
                Err(error) => {
                    tracing::warn!(%error, "outdated usage could not be dropped");
                    EVERY
                }
            };
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    async fn turn(&self, cursor: Cursor) -> Result<Swept, CommitError> {
        let settings = self.store.settings().await?;
        let retention = settings.map_or_else(Retention::default, |stored| stored.value.to_draft().retention);
        let now_s = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        self.store.sweep_usage(now_s, retention, cursor).await
    }

    async fn drop_holds(&self, now: SystemTime) -> Result<(), CommitError> {
        let Some(at) = now.checked_sub(HOLD_KEPT) else {
            return Ok(());
        };
        for held in self.store.breaker_overrides_over(at).await? {
            let target = format!("{}/{}", Kind::BreakerOverride, held.id);
            let origin = Origin::default();
            let audit = AuditEntry::new(Actor::System, "Expiry", &target, origin, to_the_millisecond(now))
                .with_summaries(Some(document::summary(document::breaker_override(&held))), None);
            let dropped = self.store.commit(Commit {
                changes: vec![Change::DeleteBreakerOverride(held.id, Expect::Present)],
                audit,
                idempotency: None,
            });
            match dropped.await {
                // Another control plane or an admin was faster.
                Ok(_) | Err(CommitError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::breaker_override::{BreakerOverride, Draft, Held, OverrideId};
    use crate::domain::provider::{self, Credentials, Provider};
    use crate::domain::{Times, user::UserId};

    const MINUTE: Duration = Duration::from_secs(60);

    async fn commit(store: &Store, change: Change) {
        let audit = AuditEntry::new(
            Actor::System,
            "Test",
            "test",
            Origin::default(),
            SystemTime::now(),
        );
        let commit = Commit {
            changes: vec![change],
            audit,
            idempotency: None,
        };
        store.commit(commit).await.unwrap();
    }

    #[tokio::test]
    async fn a_hold_that_is_over_is_dropped_a_little_later_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let now = SystemTime::now();
        let spec = provider::Draft::plain("qwen", "https://upstream.example/v1")
            .check()
            .unwrap();
        let provider = Provider {
            spec,
            credentials: Credentials::default(),
            times: Times::new(now),
        };
        commit(&store, Change::PutProvider(provider, Expect::Absent)).await;
        for (model, minutes) in [("short", 1), ("long", 5)] {
            let draft = Draft {
                provider: "qwen".to_owned(),
                model: model.to_owned(),
                held: Some(Held::Open),
                lifetime: Some(minutes * MINUTE),
                reason: String::new(),
            };
            let held = BreakerOverride {
                id: OverrideId::mint(rand::random()),
                maker: UserId::mint(rand::random()),
                spec: draft.check(now).unwrap(),
                created_at: now,
            };
            commit(&store, Change::PutBreakerOverride(held)).await;
        }
        let sweeper = Sweeper {
            store: store.clone(),
            metrics: Metrics::new(),
        };
        let held = async |after: Duration| {
            sweeper.drop_holds(now + after).await.unwrap();
            let held = store.breaker_overrides().await.unwrap();
            (held.len(), store.version().revision)
        };
        let (_, before) = held(MINUTE).await;
        assert_eq!(held(MINUTE + HOLD_KEPT / 2).await, (2, before), "clocks differ");
        assert_eq!(held(MINUTE + HOLD_KEPT).await, (1, before + 1));
        assert_eq!(held(MINUTE + HOLD_KEPT).await, (1, before + 1));
        store.close().await;
    }
}
