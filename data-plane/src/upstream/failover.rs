//! Walks a plan until one candidate begins to answer.
//!
//! The commit point is in the types: this walk hands `relay` either a whole answer or
//! a flow whose first content has been read, and a flow knows no other candidate, so
//! nothing can switch after content. One budget bounds calls and time over all
//! candidates; every failure is judged by the one table.

mod attempt;
mod order;

use std::time::{Duration, Instant};

use rand::RngExt;
use tracing::warn;

use super::{
    admission::Upstreams,
    outcome::{self, Failure},
};
use crate::{
    error::Error,
    metrics::AttemptLabels,
    relay::Committed,
    routing::{Candidate, Plan},
    usage::meter::Meter,
};

pub(crate) use order::Order;

/// Pause before the same candidate is asked again, in milliseconds.
const RETRY_PAUSE_MS: std::ops::RangeInclusive<u64> = 50..=500;

/// How many calls and how much time one request may still cost.
struct Budget {
    attempts: u32,
    deadline: Instant,
}

impl Budget {
    /// Takes one call, if there is one left.
    fn take(&mut self, now: Instant) -> bool {
        let is_left = self.is_left(now);
        self.attempts = self.attempts.saturating_sub(1);
        is_left
    }

    fn is_left(&self, now: Instant) -> bool {
        self.attempts > 0 && now < self.deadline
    }
}

/// Runs the plan to its commit point.
pub(crate) async fn run(order: Order<'_>, plan: Plan, meter: &mut Meter) -> Result<Committed, Error> {
    let limits = order.snapshot.settings.attempts;
    let mut walk = Walk {
        order,
        budget: Budget {
            attempts: limits.max_attempts,
            deadline: order.arrived + limits.deadline,
        },
        failures: Vec::new(),
        soonest_probe: None,
        unfit: None,
    };
    for candidate in &plan.candidates {
        if let Some(committed) = walk.ask(candidate, meter).await? {
            return Ok(committed);
        }
    }
    Err(walk.exhausted())
}

/// How far the walk has come.
struct Walk<'a> {
    order: Order<'a>,
    budget: Budget,
    failures: Vec<Failure>,
    soonest_probe: Option<Instant>,
    /// Why the first candidate that cannot take the request cannot.
    unfit: Option<Error>,
}

impl Walk<'_> {
    /// Asks one candidate until it answers, or until it is the next one's turn.
    async fn ask(&mut self, candidate: &Candidate, meter: &mut Meter) -> Result<Option<Committed>, Error> {
        let upstreams = self.order.upstreams;
        let mut retries_left = candidate.provider.max_retries;
        let mut sent = None;
        loop {
            let now = Instant::now();
            let admission = match upstreams.admit(self.order.snapshot, candidate, now) {
                Ok(admission) => admission,
                Err(refused) => {
                    let soonest = self.soonest_probe.get_or_insert(refused.retry_at);
                    *soonest = refused.retry_at.min(*soonest);
                    return Ok(None);
                }
            };
            let call = match &sent {
                Some(sent) => sent,
                None => match self.order.prepare(candidate, meter) {
                    Ok(prepared) => sent.insert(prepared),
                    // What one candidate cannot carry, the next one may.
                    Err(error) => {
                        self.unfit.get_or_insert(error);
                        return Ok(None);
                    }
                },
            };
            if !self.budget.take(now) {
                let failures = std::mem::take(&mut self.failures);
                return Err(outcome::worth_telling(failures).map_or(Error::Deadline, Error::Upstream));
            }
            meter.attempt(&candidate.provider.name, &candidate.model);
            let deadline = self.budget.deadline;
            let failure = match attempt::run(&self.order, candidate, call, admission, deadline, meter).await {
                Ok(committed) => {
                    if call.changes.is_changed() {
                        upstreams.learnt.remember(candidate, call.changes.remedies());
                    }
                    count(upstreams, candidate, "ok");
                    return Ok(Some(committed));
                }
                Err(failure) => failure,
            };
            let verdict = failure.class.verdict();
            count(upstreams, candidate, verdict.name);
            warn!(
                request.id = %meter.id(), provider = %candidate.provider.name, model = %candidate.model,
                outcome = verdict.name, "attempt failed: {}", failure.message()
            );
            if self.budget.is_left(Instant::now())
                && let Some(amended) = self.order.amend(candidate, call, &failure, meter)
            {
                sent = Some(amended);
                continue;
            }
            if !verdict.next {
                return Err(Error::Upstream(failure));
            }
            self.failures.push(failure);
            if !verdict.same || retries_left == 0 {
                return Ok(None);
            }
            retries_left -= 1;
            tokio::time::sleep(retry_pause()).await;
        }
    }

    /// Nobody is left to ask.
    fn exhausted(self) -> Error {
        match (outcome::worth_telling(self.failures), self.soonest_probe) {
            (Some(failure), _) => Error::Upstream(failure),
            (None, Some(at)) => Error::AllOpen {
                wait: at.saturating_duration_since(Instant::now()),
            },
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

/// Full jitter, so that many requests do not come back at once.
fn retry_pause() -> Duration {
    Duration::from_millis(rand::rng().random_range(RETRY_PAUSE_MS))
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
