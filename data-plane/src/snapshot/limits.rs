//! What a key may do, and what tokens cost.

/// What the whole fleet together grants a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyLimits {
    pub(crate) requests_per_minute: Option<u32>,
    pub(crate) tokens_per_minute: Option<u64>,
    pub(crate) concurrent_requests: Option<u32>,
    pub(crate) budgets: Vec<Budget>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) period: Period,
    pub(crate) unit: Unit,
    pub(crate) amount: u64,
}

/// Of the calendar, in UTC; weeks begin on Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Period {
    Day,
    Week,
    Month,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Tokens,
    /// Millionths of the currency.
    CostMicros,
}

/// A row of the price table, whose first that fits counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Price {
    /// Empty: every provider.
    pub(crate) provider: String,
    /// The upstream's name of the model, or a pattern with `*`.
    pub(crate) model: String,
    /// Millionths of the currency for a million tokens.
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_creation: u64,
}
