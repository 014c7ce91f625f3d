//! What every request of this node shares: handles and nothing else.

use std::{sync::Arc, time::Instant};

use http::HeaderMap;
use tokio_util::task::TaskTracker;

use crate::{
    clock::Clock,
    life::Life,
    limits::Limits,
    metrics::Metrics,
    overload::{Overload, Shortage},
    running::{Leash, Running},
    snapshot::KeyId,
    snapshot::live::{Live, Unavailable},
    traces::Traces,
    upstream::admission::Upstreams,
    usage::{meter::Book, recorder::Recorder, trace::Trace},
};

pub(crate) struct Node {
    pub(crate) live: Live,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) life: Arc<Life>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) overload: Arc<Overload>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) running: Arc<Running>,
    /// `None`: nobody collects traces.
    pub(crate) traces: Option<Traces>,
    /// What goes on after an answer.
    pub(crate) tasks: TaskTracker,
}

impl Node {
    /// Where a request writes down what it cost.
    pub(crate) fn book(&self) -> Book {
        Book {
            recorder: Arc::clone(&self.recorder),
            clock: Arc::clone(&self.clock),
        }
    }

    /// What follows a request to this route, if anybody wants to see its way.
    pub(crate) fn trace(&self, route: &'static str, headers: &HeaderMap) -> Option<Trace> {
        Trace::begin(self.traces.as_ref(), route, headers)
    }

    /// What can end a request with this key from outside; `None` if the key is gone meanwhile.
    pub(crate) fn leash(&self, key: KeyId) -> Option<Leash> {
        let leash = Leash {
            life: Arc::clone(&self.life),
            run: Arc::new(self.running.begin(key)),
        };
        // Asked once it is noted: who ends what runs with a key that is gone finds it then.
        let is_known = self.live.held()?.keys.get(&key).is_some();
        is_known.then_some(leash)
    }

    /// Whether there is room for one more request.
    pub(crate) fn has_room(&self) -> Result<(), Shortage> {
        self.overload.admit(self.requests_in_flight().saturating_add(1))
    }

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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{overload::Limits, upstream::client::Client};

    /// A node that holds nothing yet.
    pub(crate) fn node() -> Arc<Node> {
        let (now, metrics) = (Instant::now(), Arc::new(Metrics::new()));
        let clock = Arc::new(Clock::default());
        Arc::new(Node {
            live: Live::new(now),
            upstreams: Arc::new(Upstreams::new(
                Client::plain(),
                Arc::clone(&metrics),
                Arc::clone(&clock),
            )),
            metrics,
            life: Arc::default(),
            clock,
            overload: Arc::new(Overload::new(Limits {
                requests_max: u64::MAX,
                body_bytes_max: 1 << 30,
            })),
            recorder: Arc::default(),
            limits: Arc::new(crate::limits::Limits::new(now)),
            running: Arc::default(),
            traces: None,
            tasks: TaskTracker::new(),
        })
    }
}
