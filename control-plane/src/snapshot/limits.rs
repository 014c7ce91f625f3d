//! Limits of keys and prices as the contract has them: the same for both APIs.

use bridge_proto::fleet::v1 as fleet;
use fleet::budget::Amount as Wire;

use crate::domain::limits::{Amount, BudgetDraft, Draft, Limits, Period};
use crate::domain::price::Price;
use crate::domain::usage::Tokens;

/// `None`: everything is granted.
pub(crate) fn limits(limits: &Limits) -> Option<fleet::KeyLimits> {
    written(limits.to_draft())
}

/// The same of limits as somebody wrote them.
pub(crate) fn written(limits: Draft) -> Option<fleet::KeyLimits> {
    let is_unlimited = limits == Draft::default();
    let Draft {
        requests_per_minute,
        tokens_per_minute,
        concurrent_requests,
        budgets,
    } = limits;
    (!is_unlimited).then(|| fleet::KeyLimits {
        requests_per_minute,
        tokens_per_minute,
        concurrent_requests,
        budgets: budgets.into_iter().map(budget).collect(),
    })
}

fn budget(BudgetDraft { period, amount }: BudgetDraft) -> fleet::Budget {
    fleet::Budget {
        period: period
            .map_or(fleet::BudgetPeriod::Unspecified, self::period)
            .into(),
        amount: amount.map(|amount| match amount {
            Amount::Tokens(tokens) => Wire::Tokens(tokens),
            Amount::CostMicros(micros) => Wire::CostMicros(micros),
        }),
        used: 0,
        resets_at: None,
    }
}

pub(crate) fn period(period: Period) -> fleet::BudgetPeriod {
    match period {
        Period::Day => fleet::BudgetPeriod::Day,
        Period::Week => fleet::BudgetPeriod::Week,
        Period::Month => fleet::BudgetPeriod::Month,
    }
}

pub(crate) fn price(price: Price) -> fleet::ModelPrice {
    let Price {
        provider,
        model,
        rates:
            Tokens {
                input,
                output,
                cache_read,
                cache_creation,
            },
    } = price;
    fleet::ModelPrice {
        provider,
        model,
        input,
        output,
        cache_read,
        cache_creation,
    }
}
