//! Reads limits of keys and the price table.

use bridge_proto::fleet::v1 as proto;

use crate::snapshot::limits::{Budget, KeyLimits, Period, Price, Unit};

/// `None`: everything is granted.
pub(super) fn key_limits(message: Option<proto::KeyLimits>) -> Option<Box<KeyLimits>> {
    let proto::KeyLimits {
        requests_per_minute,
        tokens_per_minute,
        concurrent_requests,
        budgets,
    } = message?;
    let limits = KeyLimits {
        requests_per_minute,
        tokens_per_minute,
        concurrent_requests,
        budgets: budgets.iter().map(budget).collect(),
    };
    (limits != KeyLimits::default()).then(|| Box::new(limits))
}

/// A period that this build does not know is read as the longest, an amount as nothing.
fn budget(message: &proto::Budget) -> Budget {
    let period = match message.period() {
        proto::BudgetPeriod::Day => Period::Day,
        proto::BudgetPeriod::Week => Period::Week,
        proto::BudgetPeriod::Month | proto::BudgetPeriod::Unspecified => Period::Month,
    };
    let (unit, amount) = match message.amount {
        Some(proto::budget::Amount::Tokens(tokens)) => (Unit::Tokens, tokens),
        Some(proto::budget::Amount::CostMicros(micros)) => (Unit::CostMicros, micros),
        None => (Unit::Tokens, 0),
    };
    Budget { period, unit, amount }
}

pub(super) fn price(message: proto::ModelPrice) -> Price {
    let proto::ModelPrice {
        provider,
        model,
        input,
        output,
        cache_read,
        cache_creation,
    } = message;
    Price {
        provider,
        model,
        input,
        output,
        cache_read,
        cache_creation,
    }
}
