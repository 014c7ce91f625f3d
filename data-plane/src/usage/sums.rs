//! What all requests of one minute came to, by key, provider and model.

use std::{collections::BTreeMap, time::Duration};

use bridge_translate::usage::Usage;

use super::served::{Attempt, Place, Served, Shows};
use crate::snapshot::KeyId;

const MINUTE_MS: i64 = 60_000;
/// Up to 2^21 ms, about 35 minutes; the last one holds what took longer.
const BUCKETS: usize = 23;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SumKey {
    /// Minutes since 1970.
    pub(crate) minute: i64,
    pub(crate) key: Option<KeyId>,
    pub(crate) place: Option<Place>,
}

#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) requests: u64,
    pub(crate) errors: BTreeMap<&'static str, u64>,
    pub(crate) tokens: Tokens,
    pub(crate) estimated_requests: u64,
    pub(crate) latency: Histogram,
    pub(crate) first_token: Histogram,
    pub(crate) answered_calls: u64,
    pub(crate) failed_calls: u64,
}

/// The four classes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_creation: u64,
}

/// Bucket i counts what took at most 2^i ms and was too long for the one before.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Histogram {
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) sum: Duration,
}

impl SumKey {
    pub(crate) fn of(served: &Served) -> Self {
        Self {
            minute: served.seen.ended_unix_ms.div_euclid(MINUTE_MS),
            key: served.asked.key,
            place: served.place().cloned(),
        }
    }

    /// Of one of its calls, in the minute in which all of it ended.
    pub(crate) fn of_call(&self, attempt: &Attempt) -> Self {
        Self {
            place: Some(attempt.place.clone()),
            ..self.clone()
        }
    }

    /// Of requests of which nothing is known but when they came.
    pub(crate) fn of_nobody(unix_ms: i64) -> Self {
        Self {
            minute: unix_ms.div_euclid(MINUTE_MS),
            key: None,
            place: None,
        }
    }

    pub(crate) fn start_unix_ms(&self) -> i64 {
        self.minute.saturating_mul(MINUTE_MS)
    }
}

impl Sums {
    pub(crate) fn add(&mut self, served: &Served) {
        let Served { seen, usage, .. } = served;
        self.requests += 1;
        if let Some(error) = seen.error {
            *self.errors.entry(error).or_default() += 1;
        }
        self.tokens.add(usage);
        self.estimated_requests += u64::from(usage.is_estimated);
        self.latency.observe(seen.latency);
        if let Some(first_token) = seen.first_token {
            self.first_token.observe(first_token);
        }
    }

    pub(crate) fn add_call(&mut self, attempt: &Attempt) {
        match attempt.shows {
            Shows::Answer => self.answered_calls += 1,
            Shows::Failure => self.failed_calls += 1,
            Shows::Nothing => {}
        }
    }

    /// Requests that were turned away before anything of them was read.
    pub(crate) fn add_refused(&mut self, count: u64, error: &'static str) {
        self.requests += count;
        *self.errors.entry(error).or_default() += count;
    }
}

impl Tokens {
    pub(crate) fn as_usage(&self) -> Usage {
        let Self {
            input,
            output,
            cache_read,
            cache_creation,
        } = *self;
        Usage {
            input_tokens: input,
            output_tokens: output,
            cache_read_input_tokens: cache_read,
            cache_creation_input_tokens: cache_creation,
            ..Usage::default()
        }
    }

    fn add(&mut self, usage: &Usage) {
        let add = |sum: &mut u64, count: u64| *sum = sum.saturating_add(count);
        add(&mut self.input, usage.input_tokens);
        add(&mut self.output, usage.output_tokens);
        add(&mut self.cache_read, usage.cache_read_input_tokens);
        add(&mut self.cache_creation, usage.cache_creation_input_tokens);
    }
}

impl Histogram {
    fn observe(&mut self, duration: Duration) {
        let ms = duration.as_micros().div_ceil(1000).max(1);
        // The power of two that is not below it.
        let place = (u128::BITS - (ms - 1).leading_zeros()) as usize;
        self.buckets[place.min(BUCKETS - 1)] += 1;
        self.sum = self.sum.saturating_add(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_lowest_bucket_that_holds_it() {
        for (us, place) in [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (2_000, 1),
            (2_001, 2),
            (1_024_000, 10),
            (1_024_001, 11),
            (2_097_152_000, 21),
            (2_097_152_001, 22),
            (u64::MAX, 22),
        ] {
            let mut histogram = Histogram::default();
            histogram.observe(Duration::from_micros(us));
            let found = histogram.buckets.iter().position(|count| *count == 1);
            assert_eq!(found, Some(place), "{us} µs");
        }
    }
}
