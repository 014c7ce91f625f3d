//! Who is turned away, and why, before anything is spent on a request: when the processor
//! is behind, when too many are being served, when their bodies fill the memory.
//!
//! Everybody waits for upstreams most of the time, so that the number of requests says
//! nothing about the processor; how long work waits in this process does.

mod budget;
mod gauge;
mod groups;
mod memory;
mod processor;
mod processors;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

pub(crate) use self::{
    budget::{Budget, Held},
    memory::memory_bytes,
};
use self::{
    gauge::Gauge,
    processor::{Controller, Seen},
};

/// How often this process is looked at while it serves somebody.
const TICK: Duration = Duration::from_millis(10);
/// The same while it serves nobody.
const IDLE_TICK: Duration = Duration::from_millis(100);
/// How often the log says how many were turned away.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// Any number may be in flight, as far as the processor goes.
const UNLIMITED: u64 = u64::MAX;

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

/// Whether work waits for the processor, for those who can do theirs at less cost.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pressure(Arc<AtomicBool>);

impl Pressure {
    pub(crate) fn is_high(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, is_high: bool) {
        self.0.store(is_high, Ordering::Relaxed);
    }
}

pub(crate) struct Overload {
    limits: Limits,
    pub(crate) pressure: Pressure,
    pub(crate) bodies: Arc<Budget>,
    /// How many may be in flight because of the processor.
    limit: AtomicU64,
    /// Turned away because of that since the last tick.
    hindered: AtomicU32,
    /// Turned away since the log said so.
    refused: AtomicU64,
    controller: Mutex<Controller>,
}

impl Overload {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            pressure: Pressure::default(),
            bodies: Budget::new(limits.body_bytes_max),
            limit: AtomicU64::new(UNLIMITED),
            hindered: AtomicU32::new(0),
            refused: AtomicU64::new(0),
            controller: Mutex::default(),
        }
    }

    /// Whether one more request is served; `in_flight` counts it.
    pub(crate) fn admit(&self, in_flight: u64) -> Result<(), Shortage> {
        if in_flight > self.limits.requests_max {
            return Err(Shortage::Requests);
        }
        if in_flight > self.limit.load(Ordering::Relaxed) {
            self.hindered.fetch_add(1, Ordering::Relaxed);
            return Err(Shortage::Processor);
        }
        Ok(())
    }

    /// Whether the processor limits what is in flight.
    pub(crate) fn is_shedding(&self) -> bool {
        self.limit.load(Ordering::Relaxed) != UNLIMITED
    }

    /// Somebody was turned away.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks for ever whether this process has more to do than it can.
    pub(crate) async fn watch(&self, in_flight: impl Fn() -> u64) {
        let (mut gauge, mut told_at) = (Gauge::new(), Instant::now());
        let mut tick = IDLE_TICK;
        loop {
            let seen = Seen {
                look: gauge.look(tick).await,
                in_flight: in_flight(),
                refused: self.hindered.swap(0, Ordering::Relaxed),
            };
            self.measured(seen);
            let now = Instant::now();
            if now >= told_at + TELL_INTERVAL {
                self.tell();
                told_at = now;
            }
            let is_idle = seen.in_flight == 0 && seen.refused == 0;
            tick = if is_idle { IDLE_TICK } else { TICK };
        }
    }

    fn measured(&self, seen: Seen) {
        let mut controller = self.controller.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = controller.measured(seen).unwrap_or(UNLIMITED);
        self.pressure.set(controller.sees_a_queue());
        drop(controller);
        let before = self.limit.swap(limit, Ordering::Relaxed);
        if before == UNLIMITED && limit != UNLIMITED {
            tracing::warn!(
                waited_ms = seen.look.waited.as_millis() as u64,
                in_flight = seen.in_flight,
                "more to do than can be done: shedding requests"
            );
        } else if before != UNLIMITED && limit == UNLIMITED {
            tracing::info!("shedding is over");
        }
    }

    /// One line for many: a line for each would cost as much as the refusal.
    fn tell(&self) {
        let requests = self.refused.swap(0, Ordering::Relaxed);
        if requests > 0 {
            let limit = self.limit.load(Ordering::Relaxed);
            let in_flight_max = (limit != UNLIMITED).then_some(limit);
            tracing::warn!(requests, in_flight_max, "requests turned away");
        }
    }
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
    fn the_processor_limits_what_is_in_flight() {
        let overload = overload();
        overload.limit.store(4, Ordering::Relaxed);
        assert_eq!(overload.admit(4), Ok(()));
        assert_eq!(overload.admit(5), Err(Shortage::Processor));
        assert_eq!(overload.hindered.load(Ordering::Relaxed), 1);
    }
}
