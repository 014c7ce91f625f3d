//! Walks a plan until one candidate begins to answer.
//!
//! The commit point is in the types: this walk hands `relay` either a whole answer or
//! a flow whose first content has been read, and a flow knows no other candidate, so
//! nothing can switch after content. One budget bounds calls and time over all
//! candidates, waits included; every failure is judged by the one table.

mod attempt;
mod budget;
mod explain;
mod order;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::RngExt;
use tracing::{debug, error, warn};

use self::budget::Budget;
use super::{
    admission::{Admission, Upstreams},
    guards::Refused,
    outcome::{self, Class, Failure, Verdict},
};
use crate::{
    error::Error,
    metrics::AttemptLabels,
    relay::Committed,
    routing::{Candidate, Plan},
    usage::meter::Meter,
};

pub(crate) use explain::{Call, Explained, Skipped, Step, explain};
pub(crate) use order::Order;

/// Pause before the same candidate is asked again, in milliseconds.
const RETRY_PAUSE_MS: std::ops::RangeInclusive<u64> = 50..=500;

/// Runs the plan to its commit point.
pub(crate) async fn run(order: Order<'_>, plan: Plan, meter: &mut Meter) -> Result<Committed, Error> {
    let mut walk = Walk::new(order);
    for candidate in &plan.candidates {
        if let Some(committed) = walk.ask(candidate, meter).await? {
            return Ok(committed);
        }
    }
    match walk.last_chance(&plan.candidates, meter).await? {
        Some(committed) => Ok(committed),
        None => Err(walk.exhausted()),
    }
}

/// How far the walk has come.
struct Walk<'a> {
    order: Order<'a>,
    budget: Budget<'a>,
    failures: Vec<Failure>,
    soonest_probe: Option<Instant>,
    /// Why the first candidate that cannot take the request cannot.
    unfit: Option<Error>,
}

impl<'a> Walk<'a> {
    fn new(order: Order<'a>) -> Self {
        Self {
            order,
            budget: Budget::new(order.upstreams, &order.snapshot.settings, order.arrived),
            failures: Vec::new(),
            soonest_probe: None,
            unfit: None,
        }
    }

    /// Asks one candidate until it answers, or until it is the next one's turn.
    async fn ask(&mut self, candidate: &Candidate, meter: &mut Meter) -> Result<Option<Committed>, Error> {
        match self.admit(candidate, meter) {
            Some(admission) => {
                let retries = candidate.provider.max_retries;
                self.call(candidate, admission, retries, meter).await
            }
            None => Ok(None),
        }
    }

    /// Asks the guards; what they refuse is remembered for the answer.
    fn admit(&mut self, candidate: &Candidate, meter: &Meter) -> Option<Admission> {
        let now = Instant::now();
        let Order {
            upstreams, snapshot, ..
        } = self.order;
        let refused = match upstreams.admit(snapshot, candidate, meter.id(), now) {
            Ok(admission) => return Some(admission),
            Err(refused) => refused,
        };
        debug!(
            request.id = %meter.id(), provider = %candidate.provider.name, model = %candidate.model,
            because = Skipped::of(refused, now).because, "not asked"
        );
        self.refused(candidate, refused, now);
        None
    }

    /// Remembers who was not asked, for the answer.
    fn refused(&mut self, candidate: &Candidate, refused: Refused, now: Instant) {
        let snapshot = self.order.snapshot;
        let failure = |class| Failure::new(class, Arc::clone(&candidate.provider.name));
        match refused {
            Refused::Open { probe_at } => self.may_be_probed(probe_at),
            Refused::HeldOpen => self.may_be_probed(now + snapshot.settings.breaker.recovery_timeout),
            Refused::Cooling { until } => self.failures.push(Failure {
                retry_after: Some(until.saturating_duration_since(now)),
                ..failure(Class::RATE_LIMITED)
            }),
            Refused::Quarantined { class } => self.failures.push(failure(class)),
        }
    }

    fn may_be_probed(&mut self, at: Instant) {
        let soonest = self.soonest_probe.get_or_insert(at);
        *soonest = at.min(*soonest);
    }

    /// Calls one candidate, and again as far as the table, its changes and the budget allow.
    async fn call(
        &mut self,
        candidate: &Candidate,
        mut admission: Admission,
        mut retries_left: u32,
        meter: &mut Meter,
    ) -> Result<Option<Committed>, Error> {
        let upstreams = self.order.upstreams;
        let mut sent = match self.order.prepare(candidate, meter).await {
            Ok(sent) => sent,
            // We have too much to do: no other candidate changes that.
            Err(error @ Error::Overloaded(_)) => return Err(error),
            // What one candidate cannot carry, the next one may.
            Err(error) => {
                self.unfit.get_or_insert(error);
                return Ok(None);
            }
        };
        upstreams.first_try(&candidate.provider.name, Instant::now());
        loop {
            if !self.budget.take(Instant::now()) {
                let failures = std::mem::take(&mut self.failures);
                return Err(outcome::worth_telling(failures).map_or(Error::Deadline, Error::Upstream));
            }
            meter.attempt(&candidate.provider.name, &candidate.model);
            let deadline = self.budget.deadline();
            let failure = match attempt::run(&self.order, candidate, &sent, admission, deadline, meter).await
            {
                Ok(committed) => {
                    if sent.changes.is_changed() {
                        upstreams.learnt.remember(candidate, sent.changes.remedies());
                    }
                    count(upstreams, candidate, "ok");
                    return Ok(Some(committed));
                }
                Err(failure) => failure,
            };
            let verdict = failure
                .class
                .verdict()
                .about(candidate.provider.endpoint.credential);
            count(upstreams, candidate, verdict.name);
            report(candidate, &failure, verdict, meter);
            meter.attempt_failed(verdict.name, verdict.shows());
            let mut pause = None;
            if self.budget.is_left(Instant::now())
                && let Some(amended) = Box::pin(self.order.amend(candidate, &sent, &failure, meter)).await
            {
                sent = amended;
            } else {
                if !verdict.next {
                    return Err(Error::Upstream(failure));
                }
                self.failures.push(failure);
                if !verdict.same || retries_left == 0 {
                    return Ok(None);
                }
                retries_left -= 1;
                pause = Some(retry_pause());
            }
            // Nobody waits for a breaker that has just opened.
            match self.admit(candidate, meter) {
                Some(next) => admission = next,
                None => return Ok(None),
            }
            if let Some(pause) = pause {
                if !self
                    .budget
                    .retry(&candidate.provider.name, Instant::now() + pause)
                {
                    return Ok(None);
                }
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Nobody answered: one more call, if it may help. To whom will have cooled down soon, or,
    /// if nobody was asked at all, to the least bad one.
    async fn last_chance(
        &mut self,
        candidates: &[Candidate],
        meter: &mut Meter,
    ) -> Result<Option<Committed>, Error> {
        let now = Instant::now();
        let Order {
            upstreams, snapshot, ..
        } = self.order;
        if let Some((until, candidate)) = self.order.soon_cool(candidates, now)
            && self.budget.retry(&candidate.provider.name, until)
        {
            tokio::time::sleep_until(until.into()).await;
            let admission = self.admit(candidate, meter);
            return match admission {
                Some(admission) => self.call(candidate, admission, 0, meter).await,
                None => Ok(None),
            };
        }
        if meter.trail().attempts > 0 {
            return Ok(None);
        }
        match upstreams.last_resort(snapshot, candidates, meter.id(), now) {
            Some((place, admission)) => match candidates.get(place) {
                Some(candidate) => self.call(candidate, admission, 0, meter).await,
                None => Ok(None),
            },
            None => Ok(None),
        }
    }

    /// Nobody is left to ask.
    fn exhausted(self) -> Error {
        let all_open = |at: Instant| Error::AllOpen {
            wait: at.saturating_duration_since(Instant::now()),
        };
        match (outcome::worth_telling(self.failures), self.soonest_probe) {
            (Some(failure), Some(at)) if !failure.may_pass() => all_open(at),
            (Some(failure), _) => Error::Upstream(failure),
            (None, Some(at)) => all_open(at),
            (None, None) => self.unfit.unwrap_or(Error::Deadline),
        }
    }
}

fn count(upstreams: &Upstreams, candidate: &Candidate, outcome: &'static str) {
    let provider = candidate.provider.name.to_string();
    upstreams
        .metrics
        .attempts
        .get_or_create(&AttemptLabels { provider, outcome })
        .inc();
}

fn report(candidate: &Candidate, failure: &Failure, verdict: Verdict, meter: &Meter) {
    let Candidate { provider, model } = candidate;
    let (id, provider, outcome, words) = (meter.id(), &provider.name, verdict.name, failure.message());
    if verdict.is_alarm {
        error!(request.id = %id, %provider, %model, outcome, "attempt failed: {words}");
    } else {
        warn!(request.id = %id, %provider, %model, outcome, "attempt failed: {words}");
    }
}

/// Full jitter, so that many requests do not come back at once.
fn retry_pause() -> Duration {
    Duration::from_millis(rand::rng().random_range(RETRY_PAUSE_MS))
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
