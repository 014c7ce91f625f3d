//! Walks a plan until one candidate begins to answer.
//!
//! The commit point is in the types: this walk hands out either a whole answer or a
//! [`Flow`] whose first content has been read, and a `Flow` knows no other candidate,
//! so nothing can switch after content. One budget bounds calls and time over all
//! candidates; every failure is judged by the one table.

mod attempt;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use bridge_translate::{anthropic, loss::LossList, request::Outbound};
use bytes::Bytes;
use rand::RngExt;
use tracing::warn;

use super::{
    breaker::{self, Breakers, Permit},
    client::Client,
    outcome::{self, Failure},
};
use crate::{
    error::Error,
    metrics::{AttemptLabels, Metrics},
    off_reactor::off_reactor,
    relay::Flow,
    routing::{Candidate, Plan},
    snapshot::{ApiKey, Held, LossPolicy, Provider, Snapshot},
    usage::meter::Meter,
};

/// Pause before the same candidate is asked again, in milliseconds.
const RETRY_PAUSE_MS: std::ops::RangeInclusive<u64> = 50..=500;

/// What every call to an upstream shares.
pub(crate) struct Upstreams {
    pub(crate) client: Client,
    breakers: Mutex<Breakers>,
    pub(crate) metrics: Arc<Metrics>,
}

/// One request on its way over its plan.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) upstreams: &'a Arc<Upstreams>,
    pub(crate) snapshot: &'a Arc<Snapshot>,
    pub(crate) key: &'a ApiKey,
    pub(crate) request: &'a anthropic::Request<'a>,
    pub(crate) body_bytes: usize,
    pub(crate) arrived: Instant,
}

/// The answer has begun; from here on nobody else can give it.
pub(crate) enum Committed {
    /// All of it, in the form that the client asked for.
    Whole(Vec<u8>),
    Flow(Box<Flow>),
}

/// How many calls and how much time one request may still cost.
struct Budget {
    attempts: u32,
    deadline: Instant,
}

/// A right to call a candidate. Unless settled it teaches the breaker nothing.
pub(crate) struct Admission {
    upstreams: Arc<Upstreams>,
    snapshot: Arc<Snapshot>,
    candidate: Candidate,
    permit: Option<Permit>,
}

impl Upstreams {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            breakers: Mutex::default(),
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
        })
    }

    /// A panic elsewhere leaves whole states behind: every change is one assignment.
    fn breakers(&self) -> MutexGuard<'_, Breakers> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Admission {
    pub(crate) fn provider(&self) -> &Provider {
        &self.candidate.provider
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
                None => outbound.insert(translate(&order, &candidate, meter)?),
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

/// The body for one candidate, and what it loses.
pub(crate) struct Sent {
    pub(crate) outbound: Outbound,
    pub(crate) body: Bytes,
}

fn translate(order: &Order<'_>, candidate: &Candidate, meter: &mut Meter) -> Result<Sent, Error> {
    let target = candidate.target(order.snapshot);
    let mut outbound = off_reactor(order.body_bytes, || {
        bridge_translate::request::to_openai(order.request, &target)
    })?;
    let policy = order
        .key
        .loss_policy
        .unwrap_or(order.snapshot.settings.loss_policy);
    report(policy, &outbound.losses, meter)?;
    let body = Bytes::from(std::mem::take(&mut outbound.body));
    Ok(Sent { outbound, body })
}

fn report(policy: LossPolicy, losses: &LossList, meter: &mut Meter) -> Result<(), Error> {
    match (policy, losses.header()) {
        (_, None) | (LossPolicy::Silent, Some(_)) => {}
        (LossPolicy::Report, Some(header)) => meter.lost(header),
        (LossPolicy::Strict, Some(header)) => return Err(Error::Lossy(header)),
    }
    Ok(())
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
