//! One breaker per provider and upstream model: when a candidate keeps failing, it is
//! left alone for a while, and then one request finds out whether it is back.
//!
//! Pure on purpose: time and settings are arguments. A candidate that works costs no
//! entry; only what fails is remembered.

use std::{collections::HashMap, time::Instant};

use crate::snapshot::BreakerSettings;

/// Candidates with failures that are remembered. Names can come from clients (through
/// rules that keep the name that was asked for), so there must be an end.
const ENTRIES_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Requests flow.
    Closed { failures: u32 },
    /// Requests are refused.
    Open { since: Instant, until: Instant },
    /// One probe is under way.
    HalfOpen { since: Instant },
}

/// What an attempt says about its candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    HardFailure,
    /// Refused for the moment, as by a rate limit: no fault, but no probe passes by it.
    SoftFailure,
    /// Nothing was learnt: the client left, or the fault was the request's own.
    Nothing,
}

/// A right to call a candidate, given back with the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    Normal,
    Probe,
}

/// Refused until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) retry_at: Instant,
}

impl State {
    const NEW: Self = Self::Closed { failures: 0 };

    fn admit(self, now: Instant, settings: &BreakerSettings) -> (Self, Result<Permit, Refused>) {
        match self {
            Self::Closed { .. } => (self, Ok(Permit::Normal)),
            Self::Open { since, until } if now >= until => (Self::HalfOpen { since }, Ok(Permit::Probe)),
            Self::Open { until, .. } => (self, Err(Refused { retry_at: until })),
            Self::HalfOpen { .. } => (
                self,
                Err(Refused {
                    retry_at: now + settings.recovery_timeout,
                }),
            ),
        }
    }

    fn record(self, permit: Permit, outcome: Outcome, now: Instant, settings: &BreakerSettings) -> Self {
        let open = |since| Self::Open {
            since,
            until: now + settings.recovery_timeout,
        };
        match (self, permit, outcome) {
            (Self::Closed { failures }, _, Outcome::HardFailure)
                if failures.saturating_add(1) >= settings.failure_threshold =>
            {
                open(now)
            }
            (Self::Closed { failures }, _, Outcome::HardFailure) => Self::Closed {
                failures: failures + 1,
            },
            (Self::Closed { .. }, _, Outcome::Success) => Self::NEW,
            (Self::Closed { .. }, _, Outcome::SoftFailure | Outcome::Nothing) => self,
            (Self::HalfOpen { .. }, Permit::Probe, Outcome::Success) => Self::NEW,
            (Self::HalfOpen { since }, Permit::Probe, Outcome::HardFailure | Outcome::SoftFailure) => {
                open(since)
            }
            // The probe learnt nothing: the next request is the probe.
            (Self::HalfOpen { since }, Permit::Probe, Outcome::Nothing) => Self::Open { since, until: now },
            // Late answers from before it opened.
            (Self::HalfOpen { .. }, Permit::Normal, _) | (Self::Open { .. }, _, _) => self,
        }
    }
}

/// All breakers of this node.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    states: HashMap<Box<str>, HashMap<Box<str>, State>>,
    entries: usize,
}

impl Breakers {
    pub(crate) fn admit(
        &mut self,
        provider: &str,
        model: &str,
        now: Instant,
        settings: &BreakerSettings,
    ) -> Result<Permit, Refused> {
        let Some(state) = self
            .states
            .get_mut(provider)
            .and_then(|models| models.get_mut(model))
        else {
            return Ok(Permit::Normal);
        };
        if !settings.enabled {
            return Ok(Permit::Normal);
        }
        let (next, admission) = state.admit(now, settings);
        *state = next;
        admission
    }

    pub(crate) fn record(
        &mut self,
        provider: &str,
        model: &str,
        (permit, outcome): (Permit, Outcome),
        now: Instant,
        settings: &BreakerSettings,
    ) {
        if !settings.enabled {
            return self.forget(provider, model);
        }
        let state = self.state(provider, model);
        match state.record(permit, outcome, now, settings) {
            State::NEW => self.forget(provider, model),
            next if next != state => self.remember(provider, model, next),
            State::Closed { .. } | State::Open { .. } | State::HalfOpen { .. } => {}
        }
    }

    pub(crate) fn state(&self, provider: &str, model: &str) -> State {
        self.states
            .get(provider)
            .and_then(|models| models.get(model))
            .copied()
            .unwrap_or(State::NEW)
    }

    /// Those that are not simply closed.
    pub(crate) fn unhealthy(&self) -> impl Iterator<Item = (&str, &str, State)> {
        self.states.iter().flat_map(|(provider, models)| {
            models.iter().filter_map(|(model, state)| match state {
                State::Closed { .. } => None,
                State::Open { .. } | State::HalfOpen { .. } => Some((&**provider, &**model, *state)),
            })
        })
    }

    fn remember(&mut self, provider: &str, model: &str, state: State) {
        if let Some(known) = self
            .states
            .get_mut(provider)
            .and_then(|models| models.get_mut(model))
        {
            *known = state;
        } else if self.entries < ENTRIES_MAX {
            self.states
                .entry(provider.into())
                .or_default()
                .insert(model.into(), state);
            self.entries += 1;
        }
    }

    fn forget(&mut self, provider: &str, model: &str) {
        let Some(models) = self.states.get_mut(provider) else {
            return;
        };
        if models.remove(model).is_some() {
            self.entries -= 1;
        }
        if models.is_empty() {
            self.states.remove(provider);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings {
        enabled: true,
        failure_threshold: 3,
        recovery_timeout: Duration::from_secs(60),
    };

    fn fail(breakers: &mut Breakers, times: u32, now: Instant) {
        for _ in 0..times {
            breakers.record("p", "m", (Permit::Normal, Outcome::HardFailure), now, &SETTINGS);
        }
    }

    #[test]
    fn it_opens_on_consecutive_failures_and_lets_one_probe_through() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        fail(&mut breakers, 3, now);
        let later = now + SETTINGS.recovery_timeout;
        assert_eq!(
            breakers.admit("p", "m", now, &SETTINGS),
            Err(Refused { retry_at: later })
        );
        assert_eq!(breakers.admit("p", "other", now, &SETTINGS), Ok(Permit::Normal));
        assert_eq!(breakers.admit("p", "m", later, &SETTINGS), Ok(Permit::Probe));
        assert!(breakers.admit("p", "m", later, &SETTINGS).is_err());
        breakers.record("p", "m", (Permit::Probe, Outcome::Success), later, &SETTINGS);
        assert_eq!(breakers.admit("p", "m", later, &SETTINGS), Ok(Permit::Normal));
        assert_eq!(breakers.entries, 0, "what works is not remembered");
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        fail(&mut breakers, 2, now);
        breakers.record("p", "m", (Permit::Normal, Outcome::Success), now, &SETTINGS);
        fail(&mut breakers, 2, now);
        assert_eq!(breakers.state("p", "m"), State::Closed { failures: 2 });
    }

    #[test]
    fn a_probe_that_learnt_nothing_leaves_the_next_one_free() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        fail(&mut breakers, 3, now);
        let later = now + SETTINGS.recovery_timeout;
        assert_eq!(breakers.admit("p", "m", later, &SETTINGS), Ok(Permit::Probe));
        breakers.record("p", "m", (Permit::Probe, Outcome::Nothing), later, &SETTINGS);
        assert_eq!(breakers.admit("p", "m", later, &SETTINGS), Ok(Permit::Probe));
    }

    #[test]
    fn switched_off_it_refuses_nobody() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        fail(&mut breakers, 3, now);
        let off = BreakerSettings {
            enabled: false,
            ..SETTINGS
        };
        assert_eq!(breakers.admit("p", "m", now, &off), Ok(Permit::Normal));
    }

    #[test]
    fn names_without_end_do_not_fill_the_memory() {
        let now = Instant::now();
        let mut breakers = Breakers::default();
        for model in 0..ENTRIES_MAX + 10 {
            let failed = (Permit::Normal, Outcome::HardFailure);
            breakers.record("p", &model.to_string(), failed, now, &SETTINGS);
        }
        assert_eq!(breakers.states["p"].len(), ENTRIES_MAX);
    }

    /// The same rules, told as a diary: every step looks at all that happened.
    #[derive(Default)]
    struct Reference {
        failures_in_a_row: u32,
        opened_until: Option<u64>,
        probe_is_out: bool,
    }

    impl Reference {
        fn admit(&mut self, now: u64) -> Option<Permit> {
            match self.opened_until {
                None => Some(Permit::Normal),
                Some(_) if self.probe_is_out => None,
                Some(until) if now < until => None,
                Some(_) => {
                    self.probe_is_out = true;
                    Some(Permit::Probe)
                }
            }
        }

        fn record(&mut self, permit: Permit, outcome: Outcome, now: u64) {
            let is_judged = match permit {
                Permit::Probe => std::mem::take(&mut self.probe_is_out),
                Permit::Normal => self.opened_until.is_none(),
            };
            if !is_judged {
                return;
            }
            let recovery = SETTINGS.recovery_timeout.as_secs();
            match (permit, outcome) {
                (_, Outcome::Success) => *self = Self::default(),
                (Permit::Normal, Outcome::HardFailure) => {
                    self.failures_in_a_row += 1;
                    if self.failures_in_a_row >= SETTINGS.failure_threshold {
                        self.opened_until = Some(now + recovery);
                    }
                }
                (Permit::Probe, Outcome::HardFailure | Outcome::SoftFailure) => {
                    self.opened_until = Some(now + recovery);
                }
                (Permit::Probe, Outcome::Nothing) => self.opened_until = Some(now),
                (Permit::Normal, Outcome::SoftFailure | Outcome::Nothing) => {}
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Admit,
        /// Ends one of the running attempts.
        Finish(prop::sample::Index, Outcome),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let outcome = prop_oneof![
            2 => Just(Outcome::Success),
            5 => Just(Outcome::HardFailure),
            1 => Just(Outcome::SoftFailure),
            1 => Just(Outcome::Nothing),
        ];
        prop_oneof![
            4 => Just(Step::Admit),
            4 => (any::<prop::sample::Index>(), outcome).prop_map(|(index, outcome)| Step::Finish(index, outcome)),
            2 => (0_u64..70).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_the_reference_does(steps in prop::collection::vec(step(), 1..200)) {
            let start = Instant::now();
            let mut breakers = Breakers::default();
            let (mut reference, mut running, mut now) = (Reference::default(), Vec::new(), 0_u64);
            for step in steps {
                let at = start + Duration::from_secs(now);
                match step {
                    Step::Admit => {
                        let admitted = breakers.admit("p", "m", at, &SETTINGS).ok();
                        prop_assert_eq!(admitted, reference.admit(now));
                        running.extend(admitted);
                    }
                    Step::Finish(index, outcome) if !running.is_empty() => {
                        let permit = running.swap_remove(index.index(running.len()));
                        breakers.record("p", "m", (permit, outcome), at, &SETTINGS);
                        reference.record(permit, outcome, now);
                    }
                    Step::Finish(..) => {}
                    Step::Pass(seconds) => now += seconds,
                }
            }
        }
    }
}
