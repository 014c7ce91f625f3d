//! What stands between requests and providers: breakers, cool-downs, quarantines, the
//! retry budget, and what an admin has to hear of.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::{AttemptLabels, Count, ProviderLabel};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransitionLabels {
    provider: String,
    to: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BreakerLabels {
    provider: String,
    model: String,
}

pub(crate) struct Guards {
    breakers: Family<BreakerLabels, Count>,
    held: Family<BreakerLabels, Count>,
    quarantined: Family<ProviderLabel, Count>,
    transitions: Family<TransitionLabels, Counter>,
    cooldowns: Family<ProviderLabel, Counter>,
    quarantines: Family<ProviderLabel, Counter>,
    last_resorts: Family<ProviderLabel, Counter>,
    retries_refused: Family<ProviderLabel, Counter>,
    alarms: Family<AttemptLabels, Counter>,
}

/// How a breaker that is not closed is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Open = 1,
    HalfOpen = 2,
}

/// How an admin holds a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShownHold {
    Open = 1,
    Closed = 2,
}

impl Guards {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self {
            breakers: Family::default(),
            held: Family::default(),
            quarantined: Family::default(),
            transitions: Family::default(),
            cooldowns: Family::default(),
            quarantines: Family::default(),
            last_resorts: Family::default(),
            retries_refused: Family::default(),
            alarms: Family::default(),
        };
        registry.register(
            "breaker_state",
            "1 open, 2 half-open; closed ones are not shown",
            this.breakers.clone(),
        );
        registry.register(
            "breaker_held",
            "1 held open by an admin, 2 held closed; without a model, all of the provider",
            this.held.clone(),
        );
        registry.register(
            "quarantined",
            "1 while the credential is not used because the provider refused it",
            this.quarantined.clone(),
        );
        registry.register(
            "breaker_transitions",
            "Breakers that opened or closed",
            this.transitions.clone(),
        );
        registry.register(
            "cooldowns",
            "Pauses that rate limits asked for",
            this.cooldowns.clone(),
        );
        registry.register(
            "quarantines",
            "Credentials that were refused",
            this.quarantines.clone(),
        );
        registry.register(
            "last_resorts",
            "Calls although every breaker was open",
            this.last_resorts.clone(),
        );
        registry.register(
            "retries_refused",
            "Retries that the retry budget did not allow",
            this.retries_refused.clone(),
        );
        registry.register(
            "alarms",
            "Failures that an admin has to act on",
            this.alarms.clone(),
        );
        this
    }

    /// Shows the breakers that are not closed, and no others.
    pub(crate) fn show_breakers(&self, unhealthy: Vec<(String, String, Shown)>) {
        self.breakers.clear();
        for (provider, model, shown) in unhealthy {
            let labels = BreakerLabels { provider, model };
            self.breakers.get_or_create(&labels).set(shown as i64);
        }
    }

    /// Shows the breakers that an admin holds, and no others.
    pub(crate) fn show_held(&self, held: Vec<(String, String, ShownHold)>) {
        self.held.clear();
        for (provider, model, shown) in held {
            let labels = BreakerLabels { provider, model };
            self.held.get_or_create(&labels).set(shown as i64);
        }
    }

    /// Shows the providers whose credential is refused, and no others.
    pub(crate) fn show_quarantined(&self, providers: Vec<String>) {
        self.quarantined.clear();
        for provider in providers {
            self.quarantined.get_or_create(&ProviderLabel { provider }).set(1);
        }
    }

    pub(crate) fn transitions(&self, provider: &str, to: &'static str) -> Counter {
        let provider = provider.to_owned();
        self.transitions
            .get_or_create_owned(&TransitionLabels { provider, to })
    }

    pub(crate) fn cooldowns(&self, provider: &str) -> Counter {
        self.cooldowns.get_or_create_owned(&label(provider))
    }

    pub(crate) fn quarantines(&self, provider: &str) -> Counter {
        self.quarantines.get_or_create_owned(&label(provider))
    }

    pub(crate) fn last_resorts(&self, provider: &str) -> Counter {
        self.last_resorts.get_or_create_owned(&label(provider))
    }

    pub(crate) fn retries_refused(&self, provider: &str) -> Counter {
        self.retries_refused.get_or_create_owned(&label(provider))
    }

    pub(crate) fn alarms(&self, provider: &str, outcome: &'static str) -> Counter {
        let provider = provider.to_owned();
        self.alarms
            .get_or_create_owned(&AttemptLabels { provider, outcome })
    }
}

fn label(provider: &str) -> ProviderLabel {
    ProviderLabel {
        provider: provider.to_owned(),
    }
}
