//! One breaker per provider and upstream model: when a candidate keeps failing, it is
//! left alone for a while, and then one request finds out whether it is back.
//!
//! Pure on purpose: time, settings and chance are arguments. It remembers who was asked
//! within the last seconds and who fails; a candidate that rests is forgotten when room
//! is needed.

use std::time::{Duration, Instant};

use super::{by_model::ByModel, window::Window};
use crate::snapshot::BreakerSettings;

/// So many attempts have to be seen before their rate of success says anything.
const SAMPLES_MIN: u32 = 20;
/// A breaker opens below one success in so many attempts.
const ATTEMPTS_PER_SUCCESS_MAX: u32 = 2;
/// The pause is longer by up to one in so many, so that the nodes of a fleet do not all
/// probe at once.
const JITTER_DIVISOR: f64 = 5.0;
/// While a probe is under way nobody knows more; clients are told to come back after this. A probe
/// that takes longer, as a whole answer does, is no reason to ask nobody at all.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// If everybody is left alone, the least bad one is asked at most this often.
const LAST_RESORT_PAUSE: Duration = Duration::from_secs(1);
/// Who has not been asked for so long is forgotten if others need the room, however it failed.
const MEMORY: Duration = Duration::from_secs(600);

/// When and how something is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) now: Instant,
    pub(crate) settings: &'a BreakerSettings,
    /// By chance, from 0 to 1.
    pub(crate) jitter: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Requests flow.
    Closed { failures: u32, seen: Seen },
    /// Requests are refused.
    Open {
        opened: Opened,
        until: Instant,
        last_resort: Option<Instant>,
    },
    /// One probe is under way.
    HalfOpen {
        opened: Opened,
        probed: Instant,
        last_resort: Option<Instant>,
    },
}

/// Successes and failures of the last seconds.
pub(crate) type Seen = Window<2>;

const SUCCESS: [u32; 2] = [1, 0];
const FAILURE: [u32; 2] = [0, 1];

/// Since when requests do not flow, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) since: Instant,
    pub(crate) reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("it failed too often in a row")]
    InARow,
    #[error("fewer than half of its requests succeeded")]
    SuccessRate,
}

/// What an attempt says about its candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    HardFailure,
    /// Refused for the moment, as by a rate limit: counts for the rate of success only,
    /// but no probe passes by it.
    SoftFailure,
    /// Nothing was learnt: the client left, or the fault was the request's own.
    Nothing,
}

/// A right to call a candidate, given back with the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    Normal,
    Probe,
    /// Somebody has to be asked.
    LastResort,
}

/// Refused until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) retry_at: Instant,
}

/// Where requests have begun or ceased to flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    Opened(Reason),
    Closed,
}

// === impl State ===

impl State {
    fn new(now: Instant) -> Self {
        Self::Closed {
            failures: 0,
            seen: Seen::new(now),
        }
    }

    fn admit(self, now: Instant, settings: &BreakerSettings) -> (Self, Result<Permit, Refused>) {
        let refused = |retry_at| Err(Refused { retry_at });
        match self {
            Self::Closed { .. } => (self, Ok(Permit::Normal)),
            Self::Open { opened, until, .. } if now >= until => {
                let half_open = Self::HalfOpen {
                    opened,
                    probed: now,
                    last_resort: None,
                };
                (half_open, Ok(Permit::Probe))
            }
            Self::Open { until, .. } => (self, refused(until)),
            Self::HalfOpen { .. } => {
                let patience = PROBE_PATIENCE.min(settings.recovery_timeout);
                (self, refused(now + patience))
            }
        }
    }

    fn record(self, permit: Permit, outcome: Outcome, terms: Terms<'_>) -> Self {
        let Terms { now, settings, .. } = terms;
        match (self, permit, outcome) {
            (Self::Closed { failures, seen }, _, Outcome::HardFailure) => {
                let (failures, seen) = (failures.saturating_add(1), seen.with(FAILURE, now));
                if failures >= settings.failure_threshold {
                    terms.open_first(Reason::InARow)
                } else if is_failing(seen, now) {
                    terms.open_first(Reason::SuccessRate)
                } else {
                    Self::Closed { failures, seen }
                }
            }
            (Self::Closed { failures, seen }, _, Outcome::SoftFailure) => {
                let seen = seen.with(FAILURE, now);
                if is_failing(seen, now) {
                    terms.open_first(Reason::SuccessRate)
                } else {
                    Self::Closed { failures, seen }
                }
            }
            (Self::Closed { seen, .. }, _, Outcome::Success) => Self::Closed {
                failures: 0,
                seen: seen.with(SUCCESS, now),
            },
            (Self::Closed { .. }, _, Outcome::Nothing) => self,
            (Self::HalfOpen { .. }, Permit::Probe | Permit::LastResort, Outcome::Success)
            | (Self::Open { .. }, Permit::LastResort, Outcome::Success) => Self::new(now),
            (Self::HalfOpen { opened, .. }, Permit::Probe, Outcome::HardFailure | Outcome::SoftFailure) => {
                terms.open(opened)
            }
            // The probe learnt nothing: the next request is the probe.
            (Self::HalfOpen { opened, .. }, Permit::Probe, Outcome::Nothing) => Self::Open {
                opened,
                until: now,
                last_resort: None,
            },
            // Late answers from before it opened, and a last resort that failed: the probe
            // decides, and no earlier and no later for it.
            (Self::HalfOpen { .. }, Permit::Normal | Permit::LastResort, _) | (Self::Open { .. }, _, _) => {
                self
            }
        }
    }

    fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Nothing of late speaks for or against it.
    fn is_idle(self, now: Instant) -> bool {
        match self {
            Self::Closed { failures: 0, seen } => seen.is_over(now),
            Self::Closed { seen, .. } => seen.age(now) >= MEMORY,
            Self::Open { until, .. } => now.saturating_duration_since(until) >= MEMORY,
            Self::HalfOpen { .. } => false,
        }
    }

    /// If nothing flows: since or from when a probe finds out, and the latest last resort.
    fn probe(self, now: Instant) -> Option<(Instant, Option<Instant>)> {
        match self {
            Self::Open {
                until, last_resort, ..
            } => Some((until, last_resort)),
            Self::HalfOpen {
                probed, last_resort, ..
            } => {
                let is_overdue = now.saturating_duration_since(probed) >= PROBE_PATIENCE;
                is_overdue.then_some((probed, last_resort))
            }
            Self::Closed { .. } => None,
        }
    }
}

fn is_failing(mut seen: Seen, now: Instant) -> bool {
    let [successes, failures] = seen.sums(now);
    let attempts = successes.saturating_add(failures);
    attempts >= SAMPLES_MIN && successes.saturating_mul(ATTEMPTS_PER_SUCCESS_MAX) < attempts
}

// === impl Terms ===

impl Terms<'_> {
    fn open_first(self, reason: Reason) -> State {
        let since = self.now;
        self.open(Opened { since, reason })
    }

    fn open(self, opened: Opened) -> State {
        let longer = 1.0 + self.jitter.clamp(0.0, 1.0) / JITTER_DIVISOR;
        State::Open {
            opened,
            until: self.now + self.settings.recovery_timeout.mul_f64(longer),
            last_resort: None,
        }
    }
}

// === impl Breakers ===

/// All breakers of this node.
#[derive(Debug, Default)]
pub(crate) struct Breakers(ByModel<State>);

impl Breakers {
    pub(crate) fn admit(&mut self, provider: &str, model: &str, terms: Terms<'_>) -> Result<Permit, Refused> {
        let Some(state) = self.0.get_mut(provider, model) else {
            return Ok(Permit::Normal);
        };
        let (next, admission) = state.admit(terms.now, terms.settings);
        *state = next;
        admission
    }

    /// What [`Self::admit`] would say; nothing becomes of it.
    pub(crate) fn look(&self, provider: &str, model: &str, terms: Terms<'_>) -> Result<Permit, Refused> {
        self.0.get(provider, model).map_or(Ok(Permit::Normal), |state| {
            state.admit(terms.now, terms.settings).1
        })
    }

    /// As far as it is known.
    pub(crate) fn state(&self, provider: &str, model: &str) -> Option<State> {
        self.0.get(provider, model).copied()
    }

    /// Whether a request would be let through then, if nothing happens before.
    pub(crate) fn would_admit(&self, provider: &str, model: &str, at: Instant) -> bool {
        match self.0.get(provider, model) {
            None | Some(State::Closed { .. }) => true,
            Some(State::Open { until, .. }) => at >= *until,
            Some(State::HalfOpen { .. }) => false,
        }
    }

    /// The candidate, by its place, that is asked although nothing flows to any of them: the one
    /// that is probed first. Rarely, whatever is asked for.
    pub(crate) fn last_resort<'a>(
        &mut self,
        candidates: impl Iterator<Item = (&'a str, &'a str)>,
        now: Instant,
    ) -> Option<usize> {
        let (place, (provider, model)) = self.find_soonest(candidates, now)?;
        match self.0.get_mut(provider, model) {
            Some(State::Open { last_resort, .. } | State::HalfOpen { last_resort, .. }) => {
                *last_resort = Some(now);
            }
            Some(State::Closed { .. }) | None => {}
        }
        Some(place)
    }

    /// Whom [`Self::last_resort`] would choose; nothing becomes of it.
    pub(crate) fn soonest<'a>(
        &self,
        candidates: impl Iterator<Item = (&'a str, &'a str)>,
        now: Instant,
    ) -> Option<usize> {
        self.find_soonest(candidates, now).map(|(place, _)| place)
    }

    fn find_soonest<'a>(
        &self,
        candidates: impl Iterator<Item = (&'a str, &'a str)>,
        now: Instant,
    ) -> Option<(usize, (&'a str, &'a str))> {
        let mut soonest: Option<(Instant, usize, (&str, &str))> = None;
        for (place, (provider, model)) in candidates.enumerate() {
            let known = self.0.get(provider, model).and_then(|state| state.probe(now));
            let Some((probe_at, asked)) = known else {
                continue;
            };
            if asked.is_some_and(|asked| now.saturating_duration_since(asked) < LAST_RESORT_PAUSE) {
                return None;
            }
            if soonest.is_none_or(|(known, ..)| probe_at < known) {
                soonest = Some((probe_at, place, (provider, model)));
            }
        }
        soonest.map(|(_, place, name)| (place, name))
    }

    pub(crate) fn record(
        &mut self,
        provider: &str,
        model: &str,
        (permit, outcome): (Permit, Outcome),
        terms: Terms<'_>,
    ) -> Option<Transition> {
        let now = terms.now;
        let known = self.0.get(provider, model).copied();
        if known.is_none() && outcome == Outcome::Nothing {
            return None;
        }
        let state = known.unwrap_or(State::new(now));
        let next = state.record(permit, outcome, terms);
        self.0
            .insert(provider, model, next, now, |state| state.is_idle(now));
        match (state.is_closed(), next) {
            (true, State::Open { opened, .. }) => Some(Transition::Opened(opened.reason)),
            (false, State::Closed { .. }) => Some(Transition::Closed),
            (true | false, State::Open { .. } | State::HalfOpen { .. }) | (true, State::Closed { .. }) => {
                None
            }
        }
    }

    /// Forgets the providers that are none of these.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.0.keep(is_kept);
    }

    /// Those that are not simply closed.
    pub(crate) fn unhealthy(&self) -> impl Iterator<Item = (&str, &str, State)> {
        self.0
            .iter()
            .filter(|(_, _, state)| !state.is_closed())
            .map(|(provider, model, state)| (provider, model, *state))
    }
}

#[cfg(test)]
mod tests;
