//! What one request may still cost: calls, time, and second tries of a provider.
//!
//! The walk asks it before every call and every wait, so that nothing has a limit of its
//! own that another one does not know.

use std::{sync::Arc, time::Instant};

use crate::{snapshot::AttemptLimits, upstream::admission::Upstreams};

pub(super) struct Budget<'a> {
    attempts: u32,
    deadline: Instant,
    upstreams: &'a Arc<Upstreams>,
}

impl<'a> Budget<'a> {
    pub(super) fn new(upstreams: &'a Arc<Upstreams>, limits: AttemptLimits, arrived: Instant) -> Self {
        Self {
            attempts: limits.max_attempts,
            deadline: arrived + limits.deadline,
            upstreams,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes one call, if there is one left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let is_left = self.is_left(now);
        self.attempts = self.attempts.saturating_sub(1);
        is_left
    }

    /// Whether a call can still be made at that time.
    pub(super) fn is_left(&self, at: Instant) -> bool {
        self.attempts > 0 && at < self.deadline
    }

    /// Whether the provider may be asked once more, at a time that is still to come.
    pub(super) fn retry(&self, provider: &str, at: Instant) -> bool {
        if !self.is_left(at) {
            return false;
        }
        let is_allowed = self.upstreams.may_retry(provider, Instant::now());
        if !is_allowed {
            self.upstreams.metrics.guards.retries_refused(provider).inc();
        }
        is_allowed
    }
}
