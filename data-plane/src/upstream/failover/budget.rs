//! What one request may still cost: calls, time, and second tries of a provider.
//!
//! The walk asks it before every call and every wait, so that nothing has a limit of its
//! own that another one does not know.

use std::time::Instant;

use crate::{snapshot::Settings, upstream::admission::Upstreams};

pub(super) struct Budget<'a> {
    attempts: u32,
    deadline: Instant,
    /// `None` where failures are not to be remembered: each request stands alone then.
    shared: Option<&'a Upstreams>,
}

impl<'a> Budget<'a> {
    pub(super) fn new(upstreams: &'a Upstreams, settings: &Settings, arrived: Instant) -> Self {
        Self {
            attempts: settings.attempts.max_attempts,
            deadline: arrived + settings.attempts.deadline,
            shared: settings.breaker.enabled.then_some(upstreams),
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
        let Some(shared) = self.shared else { return true };
        let is_allowed = shared.may_retry(provider, Instant::now());
        if !is_allowed {
            shared.metrics.guards.retries_refused(provider).inc();
        }
        is_allowed
    }
}
