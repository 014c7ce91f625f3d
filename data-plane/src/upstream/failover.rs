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
        let is_left = self.attempts > 0 && now < self.deadline;
        self.attempts = self.attempts.saturating_sub(1);
        is_left
    }
}

/// Runs the plan to its commit point.
pub(crate) async fn run(order: Order<'_>, plan: Plan, meter: &mut Meter) -> Result<Committed, Error> {
    let limits = order.snapshot.settings.attempts;
    let mut budget = Budget {
        attempts: limits.max_attempts,
        deadline: order.arrived + limits.deadline,
    };
    let mut failures = Vec::new();
    let mut soonest_probe: Option<Instant> = None;
    for candidate in plan.candidates {
        let mut outbound = None;
        for is_retry in std::iter::once(false).chain((0..candidate.provider.max_retries).map(|_| true)) {
            if is_retry {
                tokio::time::sleep(retry_pause()).await;
            }
            let now = Instant::now();
            let admission = match order.upstreams.admit(order.snapshot, &candidate, now) {
                Ok(admission) => admission,
                Err(refused) => {
                    soonest_probe =
                        Some(soonest_probe.map_or(refused.retry_at, |at| at.min(refused.retry_at)));
                    break;
                }
            };
            if !budget.take(now) {
                return Err(outcome::worth_telling(failures).map_or(Error::Deadline, Error::Upstream));
            }
            let sent = match &outbound {
                Some(sent) => sent,
                None => outbound.insert(order.translate(&candidate, meter)?),
            };
            meter.attempt(&candidate.provider.name, &candidate.model);
            let failure =
                match attempt::run(&order, &candidate, sent, admission, budget.deadline, meter).await {
                    Ok(committed) => {
                        count(order.upstreams, &candidate, "ok");
                        return Ok(committed);
                    }
                    Err(failure) => failure,
                };
            let verdict = failure.class.verdict();
            count(order.upstreams, &candidate, verdict.name);
            warn!(
                request.id = %meter.id(), provider = %candidate.provider.name, model = %candidate.model,
                outcome = verdict.name, "attempt failed: {}", failure.message()
            );
            if !verdict.next {
                return Err(Error::Upstream(failure));
            }
            failures.push(failure);
            if !verdict.same {
                break;
            }
        }
    }
    Err(exhausted(failures, soonest_probe))
}

/// Nobody is left to ask.
fn exhausted(failures: Vec<Failure>, soonest_probe: Option<Instant>) -> Error {
    match (outcome::worth_telling(failures), soonest_probe) {
        (Some(failure), _) => Error::Upstream(failure),
        (None, Some(at)) => Error::AllOpen {
            wait: at.saturating_duration_since(Instant::now()),
        },
        (None, None) => Error::Deadline,
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
mod tests;
