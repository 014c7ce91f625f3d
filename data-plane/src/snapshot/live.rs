//! The one configuration that is in force, and how sure we are of it.
//!
//! Readers take an `Arc` and keep it for their whole request; a swap never waits for
//! them. Age is measured on the monotonic clock from the last moment at which the
//! control plane said that nothing newer exists; what was restored from disk begins at
//! the age that it had there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;

use super::Snapshot;

#[derive(Debug)]
pub(crate) struct Live {
    current: ArcSwapOption<Snapshot>,
    started: Instant,
    /// Since `started`; negative if it was before.
    confirmed_ms: AtomicI64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    #[error("this data plane has no configuration yet")]
    Empty,
    #[error("this data plane's configuration is too old to be trusted")]
    Stale,
}

impl Live {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            started: now,
            confirmed_ms: AtomicI64::new(0),
        }
    }

    /// The configuration that judges a request which arrives now.
    pub(crate) fn current(&self, now: Instant) -> Result<Arc<Snapshot>, Unavailable> {
        let snapshot = self.held().ok_or(Unavailable::Empty)?;
        match snapshot.settings.stale_limit {
            Some(limit) if self.age(now) > limit => Err(Unavailable::Stale),
            Some(_) | None => Ok(snapshot),
        }
    }

    /// What is held, however old.
    pub(crate) fn held(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    pub(crate) fn swap(&self, snapshot: Arc<Snapshot>, now: Instant) {
        self.current.store(Some(snapshot));
        self.confirm(now);
    }

    /// Puts a snapshot from disk in force, unless something is: the control plane's word
    /// goes before the disk's.
    pub(crate) fn restore(&self, snapshot: Snapshot, now: Instant, age: Duration) -> bool {
        if self.held().is_some() {
            return false;
        }
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let confirmed_ms = self.since_start(now).saturating_sub(age_ms);
        self.confirmed_ms.store(confirmed_ms, Ordering::Relaxed);
        self.current.store(Some(Arc::new(snapshot)));
        true
    }

    /// Remembers that the control plane holds nothing newer.
    pub(crate) fn confirm(&self, now: Instant) {
        self.confirmed_ms.store(self.since_start(now), Ordering::Relaxed);
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        let confirmed_ms = self.confirmed_ms.load(Ordering::Relaxed);
        let age_ms = self.since_start(now).saturating_sub(confirmed_ms).max(0);
        Duration::from_millis(age_ms.unsigned_abs())
    }

    fn since_start(&self, now: Instant) -> i64 {
        i64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::decode::tests::snapshot;

    #[test]
    fn only_a_confirmed_configuration_serves_beyond_its_limit() {
        let start = Instant::now();
        let live = Live::new(start);
        assert_eq!(live.current(start).err(), Some(Unavailable::Empty));

        let mut held = snapshot();
        held.settings.stale_limit = Some(Duration::from_secs(5));
        live.swap(Arc::new(held), start);
        let late = start + Duration::from_secs(6);
        assert!(live.current(start + Duration::from_secs(5)).is_ok());
        assert_eq!(live.current(late).err(), Some(Unavailable::Stale));
        live.confirm(late);
        assert!(live.current(late).is_ok());
    }

    #[test]
    fn what_was_on_disk_is_as_old_as_it_was_there() {
        let start = Instant::now();
        let live = Live::new(start);
        let mut kept = snapshot();
        kept.settings.stale_limit = Some(Duration::from_secs(60));
        assert!(live.restore(kept, start, Duration::from_secs(55)));
        assert_eq!(live.age(start), Duration::from_secs(55));
        assert!(live.current(start + Duration::from_secs(5)).is_ok());
        let late = start + Duration::from_secs(6);
        assert_eq!(live.current(late).err(), Some(Unavailable::Stale));
        assert!(
            !live.restore(snapshot(), late, Duration::ZERO),
            "the disk does not beat what is held"
        );
        live.confirm(late);
        assert_eq!(live.age(late), Duration::ZERO);
    }

    #[test]
    fn a_request_keeps_the_configuration_it_began_with() {
        let now = Instant::now();
        let live = Live::new(now);
        live.swap(Arc::new(snapshot()), now);
        let taken = live.current(now).unwrap();
        let mut newer = snapshot();
        newer.version.revision += 1;
        live.swap(Arc::new(newer), now);
        assert_eq!(
            taken.version.revision + 1,
            live.current(now).unwrap().version.revision
        );
    }
}
