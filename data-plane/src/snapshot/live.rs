//! The one configuration that is in force, and how sure we are of it.
//!
//! Readers take an `Arc` and keep it for their whole request; a swap never waits for
//! them. Age is measured on the monotonic clock from the last moment at which the
//! control plane said that nothing newer exists.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;

use super::Snapshot;

#[derive(Debug)]
pub(crate) struct Live {
    current: ArcSwapOption<Snapshot>,
    started: Instant,
    confirmed_ms: AtomicU64,
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
            confirmed_ms: AtomicU64::new(0),
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

    pub(crate) fn swap(&self, snapshot: Snapshot, now: Instant) {
        self.current.store(Some(Arc::new(snapshot)));
        self.confirm(now);
    }

    /// Remembers that the control plane holds nothing newer.
    pub(crate) fn confirm(&self, now: Instant) {
        self.confirmed_ms.store(self.since_start(now), Ordering::Relaxed);
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        let confirmed_ms = self.confirmed_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.since_start(now).saturating_sub(confirmed_ms))
    }

    fn since_start(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
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
        live.swap(held, start);
        let late = start + Duration::from_secs(6);
        assert!(live.current(start + Duration::from_secs(5)).is_ok());
        assert_eq!(live.current(late).err(), Some(Unavailable::Stale));
        live.confirm(late);
        assert!(live.current(late).is_ok());
    }

    #[test]
    fn a_request_keeps_the_configuration_it_began_with() {
        let now = Instant::now();
        let live = Live::new(now);
        live.swap(snapshot(), now);
        let taken = live.current(now).unwrap();
        let mut newer = snapshot();
        newer.version.revision += 1;
        live.swap(newer, now);
        assert_eq!(
            taken.version.revision + 1,
            live.current(now).unwrap().version.revision
        );
    }
}
