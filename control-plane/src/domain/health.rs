//! Whether providers answer, as far as somebody has looked.
//!
//! A check is one call to one model. Everything above it is derived, never kept: what
//! has not been checked says nothing, for or against; of what has, all is healthy, some
//! is partial, none is unhealthy.

use std::time::{Duration, SystemTime};

use super::{
    model::Tier,
    name::ModelName,
    provider::{Provider, ProviderName, TierModels},
};

/// Longest text of a provider that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 500;

/// What a call to one model of a provider has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub provider: ProviderName,
    /// The upstream's name of the model.
    pub model: ModelName,
    pub at: SystemTime,
    pub latency: Duration,
    /// The data plane that made the call.
    pub node: String,
    /// Zero if the provider did not answer.
    pub http_status: u32,
    pub failure: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its name in the table of failures.
    pub class: String,
    /// The provider's own words, with secrets masked.
    pub message: String,
}

impl Failure {
    /// Keeps the beginning of a long message.
    #[must_use]
    pub fn new(class: String, message: &str) -> Self {
        Self {
            class,
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Healthy,
    /// Some of it answers.
    Partial,
    Unhealthy,
    Unchecked,
}

impl State {
    #[must_use]
    pub fn of(check: Option<&Check>) -> Self {
        match check {
            None => Self::Unchecked,
            Some(Check { failure: None, .. }) => Self::Healthy,
            Some(Check { failure: Some(_), .. }) => Self::Unhealthy,
        }
    }

    /// The state of several things together.
    #[must_use]
    pub fn of_all(states: impl IntoIterator<Item = Self>) -> Self {
        states.into_iter().fold(Self::Unchecked, Self::with)
    }

    fn with(self, other: Self) -> Self {
        match (self, other) {
            (known, Self::Unchecked) | (Self::Unchecked, known) => known,
            (Self::Healthy, Self::Healthy) => Self::Healthy,
            (Self::Unhealthy, Self::Unhealthy) => Self::Unhealthy,
            (Self::Healthy, Self::Partial | Self::Unhealthy)
            | (Self::Unhealthy, Self::Partial | Self::Healthy)
            | (Self::Partial, Self::Healthy | Self::Partial | Self::Unhealthy) => Self::Partial,
        }
    }
}

/// A provider by its checks.
#[derive(Debug, PartialEq, Eq)]
pub struct Judged<'a> {
    pub state: State,
    /// From the best one down; without those that have no models.
    pub tiers: Vec<JudgedTier<'a>>,
    pub checked_at: Option<SystemTime>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct JudgedTier<'a> {
    pub tier: Tier,
    pub state: State,
    /// In the order in which they are tried.
    pub models: Vec<(&'a ModelName, Option<&'a Check>)>,
}

/// Judges a provider by the checks of its models, in any order.
#[must_use]
pub fn judge<'a>(models: &'a TierModels, checks: &'a [Check]) -> Judged<'a> {
    let check_of = |model: &ModelName| checks.iter().find(|check| check.model == *model);
    let tiers = [Tier::Big, Tier::Middle, Tier::Small].into_iter().map(|tier| {
        let models: Vec<_> = models
            .of(tier)
            .iter()
            .map(|model| (model, check_of(model)))
            .collect();
        JudgedTier {
            tier,
            state: State::of_all(models.iter().map(|(_, check)| State::of(*check))),
            models,
        }
    });
    let made: Vec<_> = models.all().filter_map(check_of).collect();
    Judged {
        state: State::of_all(made.iter().map(|check| State::of(Some(check)))),
        tiers: tiers.filter(|tier| !tier.models.is_empty()).collect(),
        checked_at: made.iter().map(|check| check.at).max(),
    }
}

/// Whether what was checked before says anything about the provider as it is now.
#[must_use]
pub fn still_counts(check: &Check, before: &Provider, after: &Provider) -> bool {
    before.spec.endpoint == after.spec.endpoint
        && before.spec.dialect_overrides == after.spec.dialect_overrides
        && before.credentials.is_same_secret(&after.credentials)
        && after.spec.models.by_tier.all().any(|model| *model == check.model)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(model: &str, ok: bool, at_s: u64) -> Check {
        Check {
            provider: ProviderName::parse("p").unwrap(),
            model: ModelName::parse(model).unwrap(),
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(at_s),
            latency: Duration::from_millis(7),
            node: "a".into(),
            http_status: if ok { 200 } else { 500 },
            failure: (!ok).then(|| Failure::new("server_error".into(), "no")),
        }
    }

    fn models(big: &[&str], small: &[&str]) -> TierModels {
        let parse = |models: &[&str]| models.iter().map(|it| ModelName::parse(it).unwrap()).collect();
        TierModels {
            big: parse(big),
            middle: vec![],
            small: parse(small),
        }
    }

    #[test]
    fn several_together() {
        use State::{Healthy, Partial, Unchecked, Unhealthy};
        for (states, expected) in [
            (&[][..], Unchecked),
            (&[Unchecked, Unchecked], Unchecked),
            (&[Healthy, Healthy], Healthy),
            (&[Unhealthy, Unhealthy], Unhealthy),
            (&[Healthy, Unhealthy], Partial),
            (&[Unhealthy, Healthy], Partial),
            (&[Partial, Partial], Partial),
            (&[Healthy, Partial], Partial),
            (&[Unhealthy, Partial], Partial),
            (&[Unchecked, Healthy], Healthy),
            (&[Unhealthy, Unchecked], Unhealthy),
            (&[Unchecked, Healthy, Unhealthy], Partial),
        ] {
            assert_eq!(State::of_all(states.iter().copied()), expected, "{states:?}");
        }
    }

    #[test]
    fn a_provider_is_judged_by_its_models_and_a_tier_by_its_own() {
        let models = models(&["a", "b"], &["b"]);
        let checks = [check("b", false, 9), check("gone", true, 99), check("a", true, 5)];
        let judged = judge(&models, &checks);
        assert_eq!(judged.state, State::Partial);
        let tiers: Vec<_> = judged.tiers.iter().map(|tier| (tier.tier, tier.state)).collect();
        assert_eq!(
            tiers,
            [(Tier::Big, State::Partial), (Tier::Small, State::Unhealthy)]
        );
        assert_eq!(judged.checked_at, Some(checks[0].at));
        let judged = judge(&models, &checks[1..2]);
        assert_eq!((judged.state, judged.checked_at), (State::Unchecked, None));
    }

    #[test]
    fn long_words_are_cut() {
        let failure = Failure::new("c".into(), &"ä".repeat(MESSAGE_CHARS_MAX + 1));
        assert_eq!(failure.message.chars().count(), MESSAGE_CHARS_MAX);
    }
}
