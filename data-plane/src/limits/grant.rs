//! The right of one request to run, given back when it is over.

use std::{sync::Arc, time::Instant};

use bridge_translate::usage::Usage;

use super::{Limits, price::cost_micros};
use crate::snapshot::{KeyId, limits::Price};

/// Ends as `settle`d, or as having used nothing but its place when it is dropped.
#[derive(Debug)]
pub(crate) struct Grant {
    limits: Arc<Limits>,
    key: KeyId,
    prices: Arc<[Price]>,
    admitted: u64,
    estimate: u64,
    is_settled: bool,
}

/// What a request has come to.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) now: Instant,
    /// The second in which it was admitted, and the tokens that it was taken for then.
    pub(super) admitted: u64,
    pub(super) estimate: u64,
    pub(super) tokens: u64,
    pub(super) cost_micros: u64,
}

impl Grant {
    pub(super) fn new(
        limits: Arc<Limits>,
        key: KeyId,
        prices: Arc<[Price]>,
        admitted: u64,
        estimate: u64,
    ) -> Self {
        Self {
            limits,
            key,
            prices,
            admitted,
            estimate,
            is_settled: false,
        }
    }

    /// The request is over and has used this, at a provider and its model.
    pub(crate) fn settle(mut self, usage: &Usage, place: Option<(&str, &str)>, now: Instant) {
        let cost_micros = place.map_or(0, |(provider, model)| {
            cost_micros(&self.prices, provider, model, usage)
        });
        let tokens = usage.prompt_tokens().saturating_add(usage.output_tokens);
        self.end(now, tokens, cost_micros);
    }

    fn end(&mut self, now: Instant, tokens: u64, cost_micros: u64) {
        self.is_settled = true;
        let settled = Settled {
            now,
            admitted: self.admitted,
            estimate: self.estimate,
            tokens,
            cost_micros,
        };
        self.limits.settle(self.key, &settled);
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if !self.is_settled {
            // Whenever that is: what is taken back is of the second of its beginning.
            self.end(self.limits.started, 0, 0);
        }
    }
}
