//! Limits of keys, prices and retention: between the contract's messages and the domain,
//! naming every field.

use std::time::SystemTime;

use bridge_proto::admin::v1 as admin;
use bridge_proto::fleet::v1 as fleet;
use fleet::budget::Amount as Wire;

use crate::domain::limits::{self, Amount, BudgetDraft, Period};
use crate::domain::price::Price;
use crate::domain::retention::Retention;
use crate::domain::usage::Tokens;
use crate::domain::user_keys::{MAX_KEYS_DEFAULT, UserKeys};
use crate::snapshot::limits as to_fleet;
use crate::store::KeyUsage;

pub(crate) fn limits_draft(wire: Option<fleet::KeyLimits>) -> limits::Draft {
    let fleet::KeyLimits {
        requests_per_minute,
        tokens_per_minute,
        concurrent_requests,
        budgets,
    } = wire.unwrap_or_default();
    limits::Draft {
        requests_per_minute,
        tokens_per_minute,
        concurrent_requests,
        budgets: budgets.iter().map(budget_draft).collect(),
    }
}

fn budget_draft(wire: &fleet::Budget) -> BudgetDraft {
    let fleet::Budget {
        period: _,
        amount,
        // Answered and never read.
        used: _,
        resets_at: _,
    } = wire;
    let period = match wire.period() {
        fleet::BudgetPeriod::Unspecified => None,
        fleet::BudgetPeriod::Day => Some(Period::Day),
        fleet::BudgetPeriod::Week => Some(Period::Week),
        fleet::BudgetPeriod::Month => Some(Period::Month),
    };
    let amount = amount.map(|amount| match amount {
        Wire::Tokens(tokens) => Amount::Tokens(tokens),
        Wire::CostMicros(micros) => Amount::CostMicros(micros),
    });
    BudgetDraft { period, amount }
}

/// What the key has used, as far as nodes have reported it.
pub(crate) fn with_usage(mut key: admin::ApiKey, usage: Option<&KeyUsage>, now: SystemTime) -> admin::ApiKey {
    key.last_used_at = usage.and_then(KeyUsage::last_used).map(Into::into);
    let budgets = key.limits.iter_mut().flat_map(|limits| &mut limits.budgets);
    for budget in budgets {
        let Some(period) = budget_draft(budget).period else {
            continue;
        };
        let spent = usage.and_then(|usage| usage.spent_in(period, now));
        budget.used = match (spent, &budget.amount) {
            (Some(spent), Some(Wire::Tokens(_))) => spent.tokens,
            (Some(spent), Some(Wire::CostMicros(_))) => spent.cost_micros,
            (None, _) | (_, None) => 0,
        };
        budget.resets_at = Some(period.end(now).into());
    }
    key
}

pub(crate) fn prices_draft(wire: &[fleet::ModelPrice]) -> Vec<Price> {
    let price = |wire: &fleet::ModelPrice| {
        let fleet::ModelPrice {
            provider,
            model,
            input,
            output,
            cache_read,
            cache_creation,
        } = wire.clone();
        Price {
            provider,
            model,
            rates: Tokens {
                input,
                output,
                cache_read,
                cache_creation,
            },
        }
    };
    wire.iter().map(price).collect()
}

pub(crate) fn prices(prices: Vec<Price>) -> Vec<fleet::ModelPrice> {
    prices.into_iter().map(to_fleet::price).collect()
}

pub(crate) fn retention_draft(wire: &admin::Retention) -> Retention {
    let admin::Retention {
        minute_hours,
        hour_days,
        day_days,
        request_hours,
        request_entries,
    } = *wire;
    Retention {
        minute_hours,
        hour_days,
        day_days,
        request_hours,
        request_entries,
    }
}

pub(crate) fn retention(retention: Retention) -> admin::Retention {
    let Retention {
        minute_hours,
        hour_days,
        day_days,
        request_hours,
        request_entries,
    } = retention;
    admin::Retention {
        minute_hours,
        hour_days,
        day_days,
        request_hours,
        request_entries,
    }
}

pub(crate) fn user_keys_draft(wire: Option<admin::UserKeys>) -> UserKeys {
    let admin::UserKeys { max_keys, limits } = wire.unwrap_or_default();
    UserKeys {
        max_keys: max_keys.unwrap_or(MAX_KEYS_DEFAULT),
        limits: limits_draft(limits),
    }
}

pub(crate) fn user_keys(user_keys: UserKeys) -> admin::UserKeys {
    let UserKeys { max_keys, limits } = user_keys;
    admin::UserKeys {
        max_keys: Some(max_keys),
        limits: to_fleet::written(limits),
    }
}
