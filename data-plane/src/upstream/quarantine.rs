//! A provider that refuses its credential is left alone until an admin has changed its
//! record, or until a probe finds that it takes the credential again.
//!
//! Pure on purpose: time is an argument. Callers' own credentials never get here.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::outcome::Class;

/// An account may have been filled up without anybody telling us.
const PROBE_INTERVAL: Duration = Duration::from_secs(300);
/// Names of providers are an admin's, but they change over the life of a process.
const ENTRIES_MAX: usize = 1_000;

/// The credential that one record of a provider holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credential<'a> {
    pub(crate) provider: &'a str,
    /// Of its record.
    pub(crate) revision: u64,
}

/// What may be done with a credential now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Good,
    /// One request may find out.
    ProbeIsDue,
    Refused(Class),
}

/// What an attempt says about the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Accepted,
    Refused(Class),
    /// So many such words in a row, without one answer, are a refusal.
    Suspected {
        class: Class,
        strikes_max: u32,
    },
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Begun,
    Ended,
}

#[derive(Debug)]
struct Entry {
    revision: u64,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Suspected {
        strikes: u32,
    },
    Refused {
        class: Class,
        since: Instant,
        probe: Probe,
    },
}

#[derive(Debug, Clone, Copy)]
enum Probe {
    At(Instant),
    /// Under way.
    Out,
}

#[derive(Debug, Default)]
pub(crate) struct Quarantines(HashMap<Box<str>, Entry>);

impl Quarantines {
    pub(crate) fn standing(&self, credential: Credential<'_>, now: Instant) -> Standing {
        match self.state(credential) {
            None | Some(State::Suspected { .. }) => Standing::Good,
            Some(State::Refused {
                probe: Probe::At(at), ..
            }) if now >= at => Standing::ProbeIsDue,
            Some(State::Refused { class, .. }) => Standing::Refused(class),
        }
    }

    /// One request goes to find out; its word settles it.
    pub(crate) fn probe(&mut self, credential: Credential<'_>) {
        let entry = self.0.get_mut(credential.provider);
        if let Some(Entry {
            revision,
            state: State::Refused { probe, .. },
        }) = entry
            && *revision == credential.revision
        {
            *probe = Probe::Out;
        }
    }

    pub(crate) fn record(
        &mut self,
        credential: Credential<'_>,
        is_probe: bool,
        word: Word,
        now: Instant,
    ) -> Option<Change> {
        let known = self.state(credential);
        let refused = |class, since| State::Refused {
            class,
            since,
            probe: Probe::At(now + PROBE_INTERVAL),
        };
        match (known, word) {
            (Some(State::Refused { .. }), Word::Accepted) if is_probe => {
                self.0.remove(credential.provider);
                Some(Change::Ended)
            }
            (Some(State::Refused { since, .. }), Word::Refused(class) | Word::Suspected { class, .. })
                if is_probe =>
            {
                self.set(credential, refused(class, since));
                None
            }
            (Some(State::Refused { class, since, .. }), Word::Nothing) if is_probe => {
                // The next request finds out.
                let probe = Probe::At(now);
                self.set(credential, State::Refused { class, since, probe });
                None
            }
            // Of requests that were on their way before.
            (Some(State::Refused { .. }), _) => None,
            (None | Some(State::Suspected { .. }), Word::Refused(class)) => {
                self.set(credential, refused(class, now));
                Some(Change::Begun)
            }
            (None | Some(State::Suspected { .. }), Word::Suspected { class, strikes_max }) => {
                let strikes = match known {
                    Some(State::Suspected { strikes }) => strikes.saturating_add(1),
                    None | Some(State::Refused { .. }) => 1,
                };
                let is_enough = strikes >= strikes_max;
                let state = if is_enough {
                    refused(class, now)
                } else {
                    State::Suspected { strikes }
                };
                self.set(credential, state);
                is_enough.then_some(Change::Begun)
            }
            (None | Some(State::Suspected { .. }), Word::Accepted) => {
                self.0.remove(credential.provider);
                None
            }
            (None | Some(State::Suspected { .. }), Word::Nothing) => None,
        }
    }

    /// Forgets the credentials that are none of these.
    pub(crate) fn keep(&mut self, is_kept: impl Fn(Credential<'_>) -> bool) {
        self.0.retain(|provider, entry| {
            is_kept(Credential {
                provider,
                revision: entry.revision,
            })
        });
    }

    /// Providers whose credential is refused, why and since when.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&str, Class, Instant)> {
        self.0.iter().filter_map(|(provider, entry)| match entry.state {
            State::Suspected { .. } => None,
            State::Refused { class, since, .. } => Some((&**provider, class, since)),
        })
    }

    /// What is known of exactly this record.
    fn state(&self, credential: Credential<'_>) -> Option<State> {
        let entry = self.0.get(credential.provider)?;
        (entry.revision == credential.revision).then_some(entry.state)
    }

    fn set(&mut self, Credential { provider, revision }: Credential<'_>, state: State) {
        if self.0.len() >= ENTRIES_MAX && !self.0.contains_key(provider) {
            let oldest = self.0.iter().min_by_key(|(_, entry)| entry.revision);
            let oldest = oldest.map(|(provider, _)| provider.clone());
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        self.0.insert(provider.into(), Entry { revision, state });
    }
}

#[cfg(test)]
mod tests {
    use bridge_translate::error::FaultKind;

    use super::*;

    const CLASS: Class = Class::Said(FaultKind::Credentials);
    const REFUSED: Word = Word::Refused(CLASS);
    const FORBIDDEN: Word = Word::Suspected {
        class: Class::Said(FaultKind::Forbidden),
        strikes_max: 3,
    };

    fn credential(revision: u64) -> Credential<'static> {
        Credential {
            provider: "p",
            revision,
        }
    }

    #[test]
    fn a_refused_credential_rests_until_its_record_changes() {
        let now = Instant::now();
        let mut quarantines = Quarantines::default();
        assert_eq!(
            quarantines.record(credential(1), false, REFUSED, now),
            Some(Change::Begun)
        );
        assert_eq!(quarantines.standing(credential(1), now), Standing::Refused(CLASS));
        assert_eq!(
            quarantines.record(credential(1), false, REFUSED, now),
            None,
            "told once"
        );
        assert_eq!(quarantines.standing(credential(2), now), Standing::Good);
        assert_eq!(
            quarantines.record(credential(2), false, Word::Accepted, now),
            None
        );
        assert_eq!(quarantines.refused().count(), 0);
    }

    #[test]
    fn one_probe_after_five_minutes_finds_out() {
        let now = Instant::now();
        let later = now + PROBE_INTERVAL;
        let mut quarantines = Quarantines::default();
        quarantines.record(credential(1), false, REFUSED, now);
        let almost = later - Duration::from_millis(1);
        assert_eq!(
            quarantines.standing(credential(1), almost),
            Standing::Refused(CLASS)
        );
        assert_eq!(quarantines.standing(credential(1), later), Standing::ProbeIsDue);
        quarantines.probe(credential(1));
        assert_eq!(
            quarantines.standing(credential(1), later),
            Standing::Refused(CLASS)
        );

        quarantines.record(credential(1), true, Word::Nothing, later);
        assert_eq!(quarantines.standing(credential(1), later), Standing::ProbeIsDue);
        quarantines.probe(credential(1));
        quarantines.record(credential(1), true, REFUSED, later);
        assert_eq!(
            quarantines.standing(credential(1), later),
            Standing::Refused(CLASS)
        );

        let again = later + PROBE_INTERVAL;
        quarantines.probe(credential(1));
        let ended = quarantines.record(credential(1), true, Word::Accepted, again);
        assert_eq!(ended, Some(Change::Ended));
        assert_eq!(quarantines.standing(credential(1), again), Standing::Good);
    }

    #[test]
    fn late_answers_of_before_change_nothing() {
        let now = Instant::now();
        let mut quarantines = Quarantines::default();
        quarantines.record(credential(1), false, REFUSED, now);
        assert_eq!(
            quarantines.record(credential(1), false, Word::Accepted, now),
            None
        );
        let late = now + PROBE_INTERVAL / 2;
        assert_eq!(quarantines.record(credential(1), false, REFUSED, late), None);
        let due = quarantines.standing(credential(1), now + PROBE_INTERVAL);
        assert_eq!(due, Standing::ProbeIsDue, "the probe is not put off");
    }

    #[test]
    fn what_may_be_about_one_request_is_believed_once_it_keeps_happening() {
        let now = Instant::now();
        let mut quarantines = Quarantines::default();
        let mut say = |word| quarantines.record(credential(1), false, word, now);
        assert_eq!((say(FORBIDDEN), say(FORBIDDEN)), (None, None));
        assert_eq!(say(Word::Accepted), None);
        assert_eq!(
            (say(FORBIDDEN), say(Word::Nothing), say(FORBIDDEN)),
            (None, None, None)
        );
        assert_eq!(say(FORBIDDEN), Some(Change::Begun));
        assert!(matches!(
            quarantines.standing(credential(1), now),
            Standing::Refused(_)
        ));
    }

    #[test]
    fn providers_without_end_do_not_fill_the_memory() {
        let now = Instant::now();
        let mut quarantines = Quarantines::default();
        for number in 0..ENTRIES_MAX as u64 + 10 {
            let provider = number.to_string();
            let credential = Credential {
                provider: &provider,
                revision: number,
            };
            quarantines.record(credential, false, REFUSED, now);
            assert_ne!(quarantines.standing(credential, now), Standing::Good);
        }
        assert_eq!(quarantines.0.len(), ENTRIES_MAX);
    }
}
