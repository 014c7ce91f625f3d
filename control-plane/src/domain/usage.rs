//! What traffic was: sums over a time, and single requests without what was said in them.

mod histogram;
mod report;

use std::collections::BTreeMap;

pub use histogram::Histogram;
pub use report::{Attempt, Boot, Entry, Logged, Report, Rollup};

/// Tokens of the four classes, or their prices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// What no cache served.
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_creation: u64,
}

impl Tokens {
    /// All of them: what limits and budgets count.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input
            .saturating_add(self.output)
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_creation)
    }

    fn add(&mut self, other: &Self) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_creation = self.cache_creation.saturating_add(other.cache_creation);
    }
}

/// What requests came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    pub requests: u64,
    /// By class; successes are not in it.
    pub errors: BTreeMap<String, u64>,
    pub tokens: Tokens,
    pub cost_micros: u64,
    /// Requests for which there was no price.
    pub unpriced_requests: u64,
    /// Requests whose tokens a node estimated.
    pub estimated_requests: u64,
    pub latency: Histogram,
    pub first_token: Histogram,
    /// What nodes had to drop before they could report it.
    pub dropped: u64,
    pub calls: Calls,
}

/// Calls to a provider, also of requests that another one answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    pub answered: u64,
    /// By the provider's fault.
    pub failed: u64,
}

impl Calls {
    pub fn add(&mut self, other: Self) {
        let Self { answered, failed } = other;
        self.answered = self.answered.saturating_add(answered);
        self.failed = self.failed.saturating_add(failed);
    }
}

impl Sums {
    pub fn add(&mut self, other: &Self) {
        let Self {
            requests,
            errors,
            tokens,
            cost_micros,
            unpriced_requests,
            estimated_requests,
            latency,
            first_token,
            dropped,
            calls,
        } = other;
        let add = |sum: &mut u64, count: u64| *sum = sum.saturating_add(count);
        add(&mut self.requests, *requests);
        for (class, count) in errors {
            match self.errors.get_mut(class) {
                Some(sum) => add(sum, *count),
                None => drop(self.errors.insert(class.clone(), *count)),
            }
        }
        self.tokens.add(tokens);
        add(&mut self.cost_micros, *cost_micros);
        add(&mut self.unpriced_requests, *unpriced_requests);
        add(&mut self.estimated_requests, *estimated_requests);
        self.latency.add(latency);
        self.first_token.add(first_token);
        add(&mut self.dropped, *dropped);
        self.calls.add(*calls);
    }

    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// Whose traffic: how sums are told apart within a step of time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Empty: no valid key was shown.
    pub key_id: String,
    /// Empty: nobody was asked.
    pub provider: String,
    pub upstream_model: String,
}

/// The steps in which sums are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Minute,
    Hour,
    Day,
}

impl Step {
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        }
    }

    /// The start of the step that holds this second.
    #[must_use]
    pub fn start(self, unix_s: u64) -> u64 {
        unix_s - unix_s % self.seconds()
    }
}
