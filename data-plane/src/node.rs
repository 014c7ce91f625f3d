//! What every request of this node shares: four handles and nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crate::{
    metrics::Metrics,
    snapshot::live::{Live, Unavailable},
    upstream::failover::Upstreams,
};

pub(crate) struct Node {
    pub(crate) live: Live,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) life: Arc<Life>,
}

/// Where this process is on its way to its end.
#[derive(Debug, Default)]
pub(crate) struct Life {
    is_draining: AtomicBool,
    is_cutting: AtomicBool,
}

impl Node {
    pub(crate) fn requests_in_flight(&self) -> u64 {
        self.metrics
            .process
            .requests_in_flight
            .get()
            .try_into()
            .unwrap_or(0)
    }

    /// Whether a balancer should send requests here.
    pub(crate) fn is_ready(&self, now: Instant) -> Result<(), NotReady> {
        if self.life.is_draining() {
            return Err(NotReady::Draining);
        }
        self.live.current(now).map(|_| ()).map_err(NotReady::Unavailable)
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReady {
    #[error("draining")]
    Draining,
    #[error(transparent)]
    Unavailable(Unavailable),
}

impl Life {
    /// No new work is wanted.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// What still runs has run long enough.
    pub(crate) fn cut(&self) {
        self.is_cutting.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cutting(&self) -> bool {
        self.is_cutting.load(Ordering::Relaxed)
    }
}
