//! Who may be called now: the breakers, what admins hold open or closed, and the right
//! to one call.
//!
//! Below both the walk that asks and the stream that settles.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use bridge_translate::Usage;

use super::{
    breaker::{self, Breakers, Permit},
    client::Client,
    learnt::{Estimates, Learnt},
    tables::Tables,
};
use crate::{
    metrics::Metrics,
    routing::Candidate,
    snapshot::{Held, Provider, Snapshot},
};

/// What every call to an upstream shares.
pub(crate) struct Upstreams {
    pub(crate) client: Client,
    breakers: Mutex<Breakers>,
    pub(crate) learnt: Learnt,
    pub(crate) tables: Tables,
    pub(crate) metrics: Arc<Metrics>,
}

/// A right to call a candidate. Unless settled it teaches the breaker nothing.
pub(crate) struct Admission {
    upstreams: Arc<Upstreams>,
    snapshot: Arc<Snapshot>,
    candidate: Candidate,
    permit: Option<Permit>,
    estimates: Estimates,
}

impl Upstreams {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            breakers: Mutex::default(),
            learnt: Learnt::default(),
            tables: Tables::default(),
            metrics,
        }
    }

    /// The breakers that are not simply closed, one by one.
    pub(crate) fn unhealthy<T>(&self, mut read: impl FnMut(&str, &str, breaker::State) -> T) -> Vec<T> {
        self.breakers()
            .unhealthy()
            .map(|(provider, model, state)| read(provider, model, state))
            .collect()
    }

    /// Asks the breaker, or the admin who holds it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        candidate: &Candidate,
        now: Instant,
    ) -> Result<Admission, breaker::Refused> {
        let (provider, model) = (&*candidate.provider.name, &*candidate.model);
        let held = held_by_admin(snapshot, provider, model);
        let permit = match held {
            Some(Held::Open) => {
                return Err(breaker::Refused {
                    retry_at: now + snapshot.settings.breaker.recovery_timeout,
                });
            }
            Some(Held::Closed) => Permit::Normal,
            None => self
                .breakers()
                .admit(provider, model, now, &snapshot.settings.breaker)?,
        };
        Ok(Admission {
            upstreams: Arc::clone(self),
            snapshot: Arc::clone(snapshot),
            candidate: candidate.clone(),
            permit: Some(permit),
            estimates: Estimates::default(),
        })
    }

    /// A panic elsewhere leaves whole states behind: every change is one assignment.
    fn breakers(&self) -> MutexGuard<'_, Breakers> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    pub(crate) fn provider(&self) -> &Provider {
        &self.candidate.provider
    }

    /// What the prompt was estimated at.
    pub(crate) fn expects(&mut self, estimates: Estimates) {
        self.estimates = estimates;
    }

    /// The answer is complete, and this is what it cost.
    pub(crate) fn succeed(&mut self, usage: &Usage) {
        self.settle(breaker::Outcome::Success);
        let told = (!usage.is_estimated).then(|| usage.prompt_tokens());
        let learnt = &self.upstreams.learnt;
        learnt.observe(&self.candidate, self.estimates, told);
    }

    /// Tells the breaker how it went; only the first word counts.
    pub(crate) fn settle(&mut self, outcome: breaker::Outcome) {
        let Some(permit) = self.permit.take() else { return };
        let Candidate { provider, model } = &self.candidate;
        let settings = &self.snapshot.settings.breaker;
        self.upstreams
            .breakers()
            .record(&provider.name, model, (permit, outcome), Instant::now(), settings);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.settle(breaker::Outcome::Nothing);
    }
}

fn held_by_admin(snapshot: &Snapshot, provider: &str, model: &str) -> Option<Held> {
    if snapshot.overrides.is_empty() {
        return None;
    }
    let now = SystemTime::now();
    let mut held = snapshot
        .overrides
        .iter()
        .filter(|held| held.covers(provider, model, now));
    held.next().map(|held| held.held)
}
