//! Who may be called now, and the right to one call.
//!
//! Asks and tells the guards with the clock in its hand, and makes what they change heard:
//! one line of the log with the request's id, one count. Below both the walk that asks and
//! the stream that settles.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bridge_translate::Usage;
use tracing::{error, info, warn};

use super::{
    breaker::{self, Terms, Transition},
    client::Client,
    guards::{Changes, Guards, Lesson, Refused, Right},
    held,
    learnt::{Estimates, Learnt},
    outcome::{Class, Failure},
    quarantine,
    retry_budget::RetryBudgets,
    tables::Tables,
};
use crate::{
    clock::Clock,
    metrics::{
        Metrics,
        guards::{Shown, ShownHold},
    },
    request_id::RequestId,
    routing::Candidate,
    snapshot::{Held, Snapshot},
};

/// Breakers that are told of one by one; names of models can come from clients.
pub(crate) const TOLD_MAX: usize = 200;

/// What every call to an upstream shares.
pub(crate) struct Upstreams {
    pub(crate) client: Client,
    guards: Mutex<Guards>,
    retries: Mutex<RetryBudgets>,
    pub(crate) learnt: Learnt,
    pub(crate) tables: Tables,
    pub(crate) metrics: Arc<Metrics>,
    /// For what is said in terms of dates; guards go by the monotonic clock.
    pub(crate) clock: Arc<Clock>,
}

/// A right to call a candidate. Unless settled it teaches nothing.
pub(crate) struct Admission {
    upstreams: Arc<Upstreams>,
    snapshot: Arc<Snapshot>,
    candidate: Candidate,
    request: RequestId,
    right: Option<Right>,
    estimates: Estimates,
}

// === impl Upstreams ===

impl Upstreams {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>, clock: Arc<Clock>) -> Self {
        Self {
            client,
            guards: Mutex::default(),
            retries: Mutex::default(),
            learnt: Learnt::default(),
            tables: Tables::default(),
            metrics,
            clock,
        }
    }

    /// Forgets what is known of providers and credentials that this configuration has not.
    pub(crate) fn follow(&self, snapshot: &Snapshot) {
        self.guards().keep(&snapshot.providers);
    }

    /// The breakers that are not simply closed, one by one.
    pub(crate) fn unhealthy<T>(&self, mut read: impl FnMut(&str, &str, breaker::State) -> T) -> Vec<T> {
        self.guards()
            .breakers()
            .unhealthy()
            .take(TOLD_MAX)
            .map(|(provider, model, state)| read(provider, model, state))
            .collect()
    }

    /// The providers whose credential is refused, one by one.
    pub(crate) fn quarantined<T>(&self, mut read: impl FnMut(&str, Class, Instant) -> T) -> Vec<T> {
        self.guards()
            .quarantines()
            .refused()
            .map(|(provider, class, since)| read(provider, class, since))
            .collect()
    }

    /// The breakers that an admin holds, one by one; no model means all of the provider.
    pub(crate) fn held<T>(
        &self,
        snapshot: &Snapshot,
        now: Instant,
        mut read: impl FnMut(&str, Option<&str>, Held) -> T,
    ) -> Vec<T> {
        held::in_force(snapshot, self.clock.at(now))
            .take(TOLD_MAX)
            .map(|held| read(&held.provider, held.model.as_deref(), held.held))
            .collect()
    }

    /// Brings the metrics of what is out of order up to date.
    pub(crate) fn show(&self, snapshot: Option<&Snapshot>, now: Instant) {
        let unhealthy = self.unhealthy(|provider, model, state| {
            let shown = match state {
                breaker::State::HalfOpen { .. } => Shown::HalfOpen,
                breaker::State::Open { .. } | breaker::State::Closed { .. } => Shown::Open,
            };
            (provider.to_owned(), model.to_owned(), shown)
        });
        self.metrics.guards.show_breakers(unhealthy);
        let quarantined = self.quarantined(|provider, _, _| provider.to_owned());
        self.metrics.guards.show_quarantined(quarantined);
        let held = snapshot.map(|snapshot| {
            self.held(snapshot, now, |provider, model, held| {
                let held = match held {
                    Held::Open => ShownHold::Open,
                    Held::Closed => ShownHold::Closed,
                };
                (provider.to_owned(), model.unwrap_or_default().to_owned(), held)
            })
        });
        self.metrics.guards.show_held(held.unwrap_or_default());
    }

    /// Asks the guards, or the admin who holds a breaker.
    pub(crate) fn admit(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        candidate: &Candidate,
        request: &RequestId,
        now: Instant,
    ) -> Result<Admission, Refused> {
        let held = self.held_by_admin(snapshot, candidate, now);
        let right = self.guards().admit(candidate, held, terms(snapshot, now))?;
        Ok(self.admission(snapshot, candidate, request, right))
    }

    /// What stands in the candidate's way, and how its breaker is. Nothing becomes of asking.
    pub(crate) fn look(
        &self,
        snapshot: &Snapshot,
        candidate: &Candidate,
        now: Instant,
    ) -> (Result<(), Refused>, Option<breaker::State>) {
        let held = self.held_by_admin(snapshot, candidate, now);
        let guards = self.guards();
        let state = guards
            .breakers()
            .state(&candidate.provider.name, &candidate.model);
        (guards.look(candidate, held, terms(snapshot, now)), state)
    }

    /// Whom [`Self::last_resort`] would choose, by its place.
    pub(crate) fn would_be_last_resort(
        &self,
        snapshot: &Snapshot,
        candidates: &[Candidate],
        now: Instant,
    ) -> Option<usize> {
        let (places, free) = self.free_of_admins(snapshot, candidates, now)?;
        let chosen = self.guards().would_be_last_resort(&free, now)?;
        places.get(chosen).copied()
    }

    /// A right to call one of those whose breakers are open, because nobody else is left.
    /// Returns its place with it.
    pub(crate) fn last_resort(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        candidates: &[Candidate],
        request: &RequestId,
        now: Instant,
    ) -> Option<(usize, Admission)> {
        let (places, free) = self.free_of_admins(snapshot, candidates, now)?;
        let (chosen, right) = self.guards().last_resort(&free, now)?;
        let place = *places.get(chosen)?;
        let candidate = candidates.get(place)?;
        self.metrics.guards.last_resorts(&candidate.provider.name).inc();
        Some((place, self.admission(snapshot, candidate, request, right)))
    }

    /// Those that no admin holds open, with their places; `None` if nothing is remembered.
    fn free_of_admins<'a>(
        &self,
        snapshot: &Snapshot,
        candidates: &'a [Candidate],
        now: Instant,
    ) -> Option<(Vec<usize>, Vec<&'a Candidate>)> {
        let free = candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| self.held_by_admin(snapshot, candidate, now) != Some(Held::Open));
        snapshot.settings.breaker.enabled.then(|| free.unzip())
    }

    fn held_by_admin(&self, snapshot: &Snapshot, candidate: &Candidate, now: Instant) -> Option<Held> {
        if snapshot.overrides.is_empty() {
            return None;
        }
        held::of(snapshot, candidate, self.clock.at(now))
    }

    /// When the candidate's cool-down is over, if that is all that stands in the way.
    pub(crate) fn cools_until(
        &self,
        snapshot: &Snapshot,
        candidate: &Candidate,
        now: Instant,
    ) -> Option<Instant> {
        let held = self.held_by_admin(snapshot, candidate, now);
        self.guards().cools_until(candidate, held, now)
    }

    /// A candidate of the provider is asked for the first time.
    pub(crate) fn first_try(&self, provider: &str, now: Instant) {
        self.retries().deposit(provider, now);
    }

    /// Whether a candidate of the provider may be asked once more.
    pub(crate) fn may_retry(&self, provider: &str, now: Instant) -> bool {
        self.retries().withdraw(provider, now)
    }

    fn admission(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        candidate: &Candidate,
        request: &RequestId,
        right: Right,
    ) -> Admission {
        if right.is_probe() {
            info!(
                request.id = %request, provider = %candidate.provider.name, model = %candidate.model,
                "one request finds out whether the provider is back"
            );
        }
        Admission {
            upstreams: Arc::clone(self),
            snapshot: Arc::clone(snapshot),
            candidate: candidate.clone(),
            request: request.clone(),
            right: Some(right),
            estimates: Estimates::default(),
        }
    }

    /// A panic elsewhere leaves whole states behind: every change is one assignment.
    fn guards(&self) -> MutexGuard<'_, Guards> {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retries(&self) -> MutexGuard<'_, RetryBudgets> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Admission ===

impl Admission {
    pub(crate) fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// What the prompt was estimated at.
    pub(crate) fn expects(&mut self, estimates: Estimates) {
        self.estimates = estimates;
    }

    /// The answer has begun. A probe has proved what it was sent for; how the answer ends is
    /// judged like that of any other call.
    pub(crate) fn begun(&mut self) {
        if let Some(right) = self.right
            && right.is_probe()
        {
            self.tell(right, Lesson::Success);
            self.right = Some(right.proved());
        }
    }

    /// The answer is complete, and this is what it cost.
    pub(crate) fn succeed(&mut self, usage: &Usage) {
        self.settle(Lesson::Success);
        let told = (!usage.is_estimated).then(|| usage.prompt_tokens());
        let learnt = &self.upstreams.learnt;
        learnt.observe(&self.candidate, self.estimates, told);
    }

    /// It failed, before its answer or in it.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        let whose = self.candidate.provider.endpoint.credential;
        self.settle(Lesson::of(failure.class, failure.retry_after, whose));
    }

    /// Only the first word counts.
    fn settle(&mut self, lesson: Lesson) {
        if let Some(right) = self.right.take() {
            self.tell(right, lesson);
        }
    }

    fn tell(&self, right: Right, lesson: Lesson) {
        let terms = terms(&self.snapshot, Instant::now());
        let changes = self
            .upstreams
            .guards()
            .record(&self.candidate, right, lesson, terms);
        self.report(changes, lesson);
    }

    fn report(&self, changes: Changes, lesson: Lesson) {
        let Changes {
            breaker,
            cools_for,
            quarantine,
        } = changes;
        let Candidate { provider, model } = &self.candidate;
        let (id, provider, metrics) = (&self.request, &*provider.name, &self.upstreams.metrics.guards);
        match breaker {
            Some(Transition::Opened(reason)) => {
                metrics.transitions(provider, "open").inc();
                warn!(request.id = %id, provider, %model, %reason, "breaker opened");
            }
            Some(Transition::Closed) => {
                metrics.transitions(provider, "closed").inc();
                info!(request.id = %id, provider, %model, "breaker closed");
            }
            None => {}
        }
        if let Some(pause) = cools_for {
            metrics.cooldowns(provider).inc();
            let pause_ms = pause.as_millis() as u64;
            warn!(request.id = %id, provider, %model, pause_ms, "rate limit reached, cooling down");
        }
        match quarantine {
            Some(quarantine::Change::Begun) => {
                metrics.quarantines(provider).inc();
                error!(
                    request.id = %id, provider,
                    "credential refused: not used again before its record changes or a probe passes"
                );
            }
            Some(quarantine::Change::Ended) => {
                info!(request.id = %id, provider, "credential accepted again");
            }
            None => {}
        }
        if let Lesson::Failure { verdict, .. } = lesson
            && verdict.is_alarm
        {
            metrics.alarms(provider, verdict.name).inc();
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.settle(Lesson::Nothing);
    }
}

fn terms(snapshot: &Snapshot, now: Instant) -> Terms<'_> {
    Terms {
        now,
        settings: &snapshot.settings.breaker,
        jitter: rand::random(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{
        clock::unix_ms,
        snapshot::{BreakerOverride, decode::tests as fixture},
    };

    #[test]
    fn a_held_breaker_is_let_go_by_the_corrected_clock() {
        const HOUR: Duration = Duration::from_secs(3600);
        let (now, wall) = (Instant::now(), SystemTime::now());
        let clock = Arc::new(Clock::new(now, wall));
        let upstreams = Upstreams::new(Client::plain(), Arc::new(Metrics::new()), Arc::clone(&clock));
        let snapshot = Snapshot {
            overrides: vec![BreakerOverride {
                provider: "alpha".to_owned(),
                model: None,
                held: Held::Open,
                expires_at: Some(wall + HOUR / 2),
            }],
            ..fixture::snapshot()
        };
        let candidate = Candidate {
            provider: Arc::clone(&snapshot.providers[0]),
            model: "big-1".into(),
        };
        let held = || upstreams.held_by_admin(&snapshot, &candidate, now);
        assert_eq!(held(), Some(Held::Open));
        clock.is_at_least(now, unix_ms(wall + HOUR));
        assert_eq!(held(), None);
    }
}
