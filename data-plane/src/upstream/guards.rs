//! What stands between a request and a candidate: the credential's quarantine, the pause
//! that a rate limit asked for, the breaker. Each is a module of its own; here they are
//! asked and told together, so that none learns of a call that another one refused.
//!
//! Pure on purpose, like its parts.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    breaker::{self, Breakers, Permit, Terms, Transition},
    cooldown::CoolDowns,
    outcome::{Class, Rest, Verdict},
    quarantine::{self, Quarantines, Standing, Word},
};
use crate::{
    routing::Candidate,
    snapshot::{Credential, Held, Provider},
};

#[derive(Debug, Default)]
pub(crate) struct Guards {
    breakers: Breakers,
    cooldowns: CoolDowns,
    quarantines: Quarantines,
    /// The revision of every provider that the configuration holds; before the first one
    /// nobody is a stranger.
    revisions: Option<HashMap<Box<str>, u64>>,
}

/// A right to one call, given back with what came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Right {
    permit: Permit,
    /// Finds out whether a refused credential is good again.
    proves_credential: bool,
}

/// Why a candidate may not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Open { probe_at: Instant },
    HeldOpen,
    Cooling { until: Instant },
    Quarantined { class: Class },
}

/// What a call has shown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lesson {
    Success,
    Failure {
        class: Class,
        verdict: Verdict,
        /// How long the provider asks to be left alone.
        wait: Option<Duration>,
    },
    Nothing,
}

/// What has become different by a call.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) breaker: Option<Transition>,
    pub(crate) cools_for: Option<Duration>,
    pub(crate) quarantine: Option<quarantine::Change>,
}

// === impl Guards ===

impl Guards {
    /// Asks all of them, or the admin who holds the breaker.
    pub(crate) fn admit(
        &mut self,
        candidate: &Candidate,
        held: Option<Held>,
        terms: Terms<'_>,
    ) -> Result<Right, Refused> {
        let free = Right {
            permit: Permit::Normal,
            proves_credential: false,
        };
        if held == Some(Held::Open) {
            return Err(Refused::HeldOpen);
        }
        if !terms.settings.enabled {
            self.forget();
            return Ok(free);
        }
        let right = self.unbroken(candidate, terms.now)?;
        let (provider, model) = (&*candidate.provider.name, &*candidate.model);
        let permit = match held {
            Some(Held::Closed) => Permit::Normal,
            Some(Held::Open) | None => self
                .breakers
                .admit(provider, model, terms)
                .map_err(|breaker::Refused { retry_at }| Refused::Open { probe_at: retry_at })?,
        };
        if right.proves_credential {
            self.quarantines.probe(credential(candidate));
        }
        Ok(Right { permit, ..right })
    }

    /// What [`Self::admit`] would say, without taking a right or moving a breaker.
    pub(crate) fn look(
        &self,
        candidate: &Candidate,
        held: Option<Held>,
        terms: Terms<'_>,
    ) -> Result<(), Refused> {
        if held == Some(Held::Open) {
            return Err(Refused::HeldOpen);
        }
        if !terms.settings.enabled {
            return Ok(());
        }
        self.unbroken(candidate, terms.now)?;
        let (provider, model) = (&*candidate.provider.name, &*candidate.model);
        match held {
            Some(Held::Closed) => Ok(()),
            Some(Held::Open) | None => self
                .breakers
                .look(provider, model, terms)
                .map(drop)
                .map_err(|breaker::Refused { retry_at }| Refused::Open { probe_at: retry_at }),
        }
    }

    /// Who of them would get a right although the breakers are open, by its place.
    pub(crate) fn would_be_last_resort(&self, candidates: &[&Candidate], now: Instant) -> Option<usize> {
        let open = self.unbroken_of(candidates, now);
        let chosen = self.breakers.soonest(names_of(&open, candidates), now)?;
        open.get(chosen).map(|(place, _)| *place)
    }

    /// A right although the breakers are open: to one of the candidates, by its place.
    pub(crate) fn last_resort(&mut self, candidates: &[&Candidate], now: Instant) -> Option<(usize, Right)> {
        let open = self.unbroken_of(candidates, now);
        let chosen = self.breakers.last_resort(names_of(&open, candidates), now)?;
        let (place, right) = *open.get(chosen)?;
        if right.proves_credential {
            self.quarantines.probe(credential(candidates.get(place)?));
        }
        let permit = Permit::LastResort;
        Some((place, Right { permit, ..right }))
    }

    /// When the candidate's cool-down is over, if that is all that stands in the way.
    pub(crate) fn cools_until(
        &self,
        candidate: &Candidate,
        held: Option<Held>,
        now: Instant,
    ) -> Option<Instant> {
        let (provider, model) = (&*candidate.provider.name, &*candidate.model);
        let until = self.cooldowns.until(provider, model, now)?;
        let is_trusted = match self.quarantines.standing(credential(candidate), until) {
            Standing::Good | Standing::ProbeIsDue => true,
            Standing::Refused(_) => false,
        };
        let may_flow = match held {
            Some(Held::Open) => false,
            Some(Held::Closed) => true,
            None => self.breakers.would_admit(provider, model, until),
        };
        (is_trusted && may_flow).then_some(until)
    }

    /// Forgets what belongs to none of these providers, and hears no late answer of it.
    pub(crate) fn keep(&mut self, providers: &[Arc<Provider>]) {
        let revisions: HashMap<Box<str>, u64> = providers
            .iter()
            .map(|provider| ((&*provider.name).into(), provider.revision))
            .collect();
        self.breakers.keep(|provider| revisions.contains_key(provider));
        self.cooldowns.keep(|provider| revisions.contains_key(provider));
        self.quarantines
            .keep(|credential| revisions.get(credential.provider) == Some(&credential.revision));
        self.revisions = Some(revisions);
    }

    pub(crate) fn record(
        &mut self,
        candidate: &Candidate,
        right: Right,
        lesson: Lesson,
        terms: Terms<'_>,
    ) -> Changes {
        if !terms.settings.enabled {
            self.forget();
            return Changes::default();
        }
        let (provider, model) = (&*candidate.provider.name, &*candidate.model);
        let is_of_its_record = match &self.revisions {
            None => true,
            Some(revisions) => match revisions.get(provider) {
                None => return Changes::default(),
                Some(revision) => *revision == candidate.provider.revision,
            },
        };
        let breaker = lesson.to_breaker();
        let breaker = self
            .breakers
            .record(provider, model, (right.permit, breaker), terms);
        let cools_for = match lesson {
            Lesson::Failure { verdict, wait, .. } if verdict.rest == Rest::CoolDown => {
                Some(self.cooldowns.begin(provider, model, wait, terms.now))
            }
            Lesson::Failure { .. } | Lesson::Success | Lesson::Nothing => None,
        };
        let word = if is_of_its_record {
            lesson.of_credential(terms.settings.failure_threshold)
        } else {
            Word::Nothing
        };
        let quarantine =
            self.quarantines
                .record(credential(candidate), right.proves_credential, word, terms.now);
        Changes {
            breaker,
            cools_for,
            quarantine,
        }
    }

    pub(crate) fn breakers(&self) -> &Breakers {
        &self.breakers
    }

    pub(crate) fn quarantines(&self) -> &Quarantines {
        &self.quarantines
    }

    /// Switched off, nothing is remembered.
    fn forget(&mut self) {
        *self = Self {
            revisions: self.revisions.take(),
            ..Self::default()
        };
    }

    /// Those that nothing but a breaker stands before, each by its place.
    fn unbroken_of(&self, candidates: &[&Candidate], now: Instant) -> Vec<(usize, Right)> {
        candidates
            .iter()
            .enumerate()
            .filter_map(|(place, candidate)| Some((place, self.unbroken(candidate, now).ok()?)))
            .collect()
    }

    /// Asks all but the breaker, and changes nothing.
    fn unbroken(&self, candidate: &Candidate, now: Instant) -> Result<Right, Refused> {
        let proves_credential = match self.quarantines.standing(credential(candidate), now) {
            Standing::Good => false,
            Standing::ProbeIsDue => true,
            Standing::Refused(class) => return Err(Refused::Quarantined { class }),
        };
        let (provider, model) = (&*candidate.provider.name, &*candidate.model);
        match self.cooldowns.until(provider, model, now) {
            Some(until) => Err(Refused::Cooling { until }),
            None => Ok(Right {
                permit: Permit::Normal,
                proves_credential,
            }),
        }
    }
}

fn names_of<'a>(
    open: &[(usize, Right)],
    candidates: &'a [&'a Candidate],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    open.iter().filter_map(move |(place, _)| {
        let candidate = candidates.get(*place)?;
        Some((&*candidate.provider.name, &*candidate.model))
    })
}

fn credential(candidate: &Candidate) -> quarantine::Credential<'_> {
    quarantine::Credential {
        provider: &candidate.provider.name,
        revision: candidate.provider.revision,
    }
}

// === impl Right ===

impl Right {
    /// Whether somebody waits for what comes of it.
    pub(crate) fn is_probe(self) -> bool {
        self.proves_credential || self.permit != Permit::Normal
    }

    /// What is left of it once it has proved what it was to prove.
    pub(crate) fn proved(self) -> Self {
        Self {
            permit: Permit::Normal,
            proves_credential: false,
        }
    }
}

// === impl Lesson ===

impl Lesson {
    pub(crate) fn of(class: Class, wait: Option<Duration>, whose: Credential) -> Self {
        Self::Failure {
            class,
            verdict: class.verdict().about(whose),
            wait,
        }
    }

    fn to_breaker(self) -> breaker::Outcome {
        match self {
            Self::Success => breaker::Outcome::Success,
            Self::Failure { verdict, .. } => verdict.breaker,
            Self::Nothing => breaker::Outcome::Nothing,
        }
    }

    fn of_credential(self, strikes_max: u32) -> Word {
        match self {
            Self::Success => Word::Accepted,
            Self::Failure { class, verdict, .. } => match verdict.rest {
                Rest::Quarantine => Word::Refused(class),
                Rest::Suspicion => Word::Suspected { class, strikes_max },
                Rest::CoolDown | Rest::Nobody => Word::Nothing,
            },
            Self::Nothing => Word::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
