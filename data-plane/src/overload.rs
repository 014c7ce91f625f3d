//! Who is turned away, and why, before anything is spent on a request: when the processor
//! is behind, when too many are being served, when their bodies fill the memory.
//!
//! Everybody waits for upstreams most of the time, so that the number of requests says
//! nothing about the processor; how late a timer fires while our threads are at work does.

mod budget;
mod memory;
mod processor;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::{Handle, RuntimeMetrics},
    time::{Instant, sleep},
};

use self::processor::{Controller, Seen};
pub(crate) use self::{
    budget::{Budget, Held},
    memory::memory_bytes,
};

/// How often lateness is measured while requests come.
const TICK: Duration = Duration::from_millis(10);
/// The same while none come.
const IDLE_TICK: Duration = Duration::from_millis(100);
/// How often the log says how many were turned away.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// The share of requests that is let in is kept as a fraction of this.
const ALL: u32 = 1 << 16;

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum Shortage {
    #[error("this data plane has as many connections as it takes; try again in a moment")]
    Connections,
    #[error("this data plane serves as many requests as it takes; try again in a moment")]
    Requests,
    #[error("this data plane has more to do than it can; try again in a moment")]
    Processor,
    #[error("this data plane has no memory left for another request body; try again in a moment")]
    Memory,
}

impl Shortage {
    /// As a label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::Processor => "processor",
            Self::Memory => "memory",
        }
    }
}

/// What may be used at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) requests_max: u64,
    pub(crate) body_bytes_max: u64,
}

pub(crate) struct Overload {
    limits: Limits,
    pub(crate) bodies: Arc<Budget>,
    /// Requests since the last tick.
    arrivals: AtomicU32,
    /// Turned away since the log said so.
    refused: AtomicU64,
    /// The share that is let in, of [`ALL`].
    share: AtomicU32,
    /// Spreads those who are let in evenly.
    turn: AtomicU64,
    controller: Mutex<Controller>,
}

impl Overload {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            bodies: Budget::new(limits.body_bytes_max),
            arrivals: AtomicU32::new(0),
            refused: AtomicU64::new(0),
            share: AtomicU32::new(ALL),
            turn: AtomicU64::new(0),
            controller: Mutex::new(Controller::default()),
        }
    }

    /// Whether one more request is served, besides those in flight.
    pub(crate) fn admit(&self, in_flight: u64) -> Result<(), Shortage> {
        self.arrivals.fetch_add(1, Ordering::Relaxed);
        if in_flight > self.limits.requests_max {
            return Err(Shortage::Requests);
        }
        let share = u64::from(self.share.load(Ordering::Relaxed));
        if share == u64::from(ALL) {
            return Ok(());
        }
        // Of any so many in a row the same number is let in.
        let turn = self.turn.fetch_add(share, Ordering::Relaxed);
        if (turn % u64::from(ALL)) + share >= u64::from(ALL) {
            Ok(())
        } else {
            Err(Shortage::Processor)
        }
    }

    /// Somebody was turned away.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Measures for ever how late the runtime is and how busy.
    pub(crate) async fn watch(&self) {
        let runtime = Handle::current().metrics();
        let (mut tick, mut ticked_at, mut worked) = (IDLE_TICK, Instant::now(), time_at_work(&runtime));
        let mut told_at = ticked_at;
        loop {
            sleep(tick).await;
            let now = Instant::now();
            let passed = now.saturating_duration_since(ticked_at);
            let worked_now = time_at_work(&runtime);
            let arrivals = self.arrivals.swap(0, Ordering::Relaxed);
            self.measured(Seen {
                passed,
                lateness: passed.saturating_sub(tick),
                busy: worked_now.saturating_sub(worked).as_secs_f64()
                    / passed.as_secs_f64().max(f64::MIN_POSITIVE),
                arrivals,
            });
            if now >= told_at + TELL_INTERVAL {
                self.tell();
                told_at = now;
            }
            (ticked_at, worked) = (now, worked_now);
            tick = if arrivals > 0 { TICK } else { IDLE_TICK };
        }
    }

    fn measured(&self, seen: Seen) {
        let mut controller = self.controller.lock().unwrap_or_else(PoisonError::into_inner);
        let was_shedding = controller.is_shedding();
        let share = controller.measured(seen);
        let is_shedding = controller.is_shedding();
        drop(controller);
        self.share
            .store((share * f64::from(ALL)).round() as u32, Ordering::Relaxed);
        if is_shedding && !was_shedding {
            tracing::warn!(
                late_ms = seen.lateness.as_millis() as u64,
                "more to do than can be done: shedding requests"
            );
        } else if was_shedding && !is_shedding {
            tracing::info!("shedding is over");
        }
    }

    /// One line for many: a line for each would cost as much as the refusal.
    fn tell(&self) {
        let requests = self.refused.swap(0, Ordering::Relaxed);
        if requests > 0 {
            let share = f64::from(self.share.load(Ordering::Relaxed)) / f64::from(ALL);
            tracing::warn!(requests, share, "requests turned away");
        }
    }
}

/// Of an average thread of the runtime.
fn time_at_work(runtime: &RuntimeMetrics) -> Duration {
    let workers = runtime.num_workers();
    let sum: Duration = (0..workers)
        .map(|worker| runtime.worker_total_busy_duration(worker))
        .sum();
    sum / u32::try_from(workers).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overload() -> Overload {
        Overload::new(Limits {
            requests_max: 10,
            body_bytes_max: 1 << 30,
        })
    }

    #[test]
    fn more_than_the_limit_are_not_served_at_once() {
        let overload = overload();
        assert_eq!(overload.admit(10), Ok(()));
        assert_eq!(overload.admit(11), Err(Shortage::Requests));
    }

    #[test]
    fn a_share_is_let_in_evenly() {
        for share in [0, 1, ALL / 3, ALL / 2, ALL - 1, ALL] {
            let overload = overload();
            overload.share.store(share, Ordering::Relaxed);
            let admitted = |requests: u32| (0..requests).filter(|_| overload.admit(1).is_ok()).count();
            let of_all = admitted(ALL);
            assert_eq!(of_all, share as usize);
            let of_thirty = admitted(30) as f64;
            let expected = 30.0 * f64::from(share) / f64::from(ALL);
            assert!((of_thirty - expected).abs() <= 1.0, "{share}: {of_thirty}");
        }
    }
}
