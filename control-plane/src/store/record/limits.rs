//! Limits of an API key.

use serde::{Deserialize, Serialize};

use crate::domain::limits::{Amount, BudgetDraft, Draft, Period};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct LimitsRecord {
    requests_per_minute: Option<u32>,
    tokens_per_minute: Option<u64>,
    concurrent_requests: Option<u32>,
    #[serde(default)]
    budgets: Vec<BudgetRecord>,
}

#[derive(Serialize, Deserialize)]
struct BudgetRecord {
    period: String,
    tokens: Option<u64>,
    cost_micros: Option<u64>,
}

impl LimitsRecord {
    /// `None`: no limits.
    pub(super) fn of(limits: Draft) -> Option<Self> {
        let is_unlimited = limits == Draft::default();
        let Draft {
            requests_per_minute,
            tokens_per_minute,
            concurrent_requests,
            budgets,
        } = limits;
        (!is_unlimited).then(|| Self {
            requests_per_minute,
            tokens_per_minute,
            concurrent_requests,
            budgets: budgets.into_iter().map(BudgetRecord::of).collect(),
        })
    }

    pub(super) fn into_draft(self) -> Draft {
        let Self {
            requests_per_minute,
            tokens_per_minute,
            concurrent_requests,
            budgets,
        } = self;
        Draft {
            requests_per_minute,
            tokens_per_minute,
            concurrent_requests,
            budgets: budgets.into_iter().map(BudgetRecord::into_draft).collect(),
        }
    }
}

impl BudgetRecord {
    fn of(BudgetDraft { period, amount }: BudgetDraft) -> Self {
        let (tokens, cost_micros) = match amount {
            Some(Amount::Tokens(tokens)) => (Some(tokens), None),
            Some(Amount::CostMicros(micros)) => (None, Some(micros)),
            None => (None, None),
        };
        Self {
            period: period.map(Period::as_str).unwrap_or_default().to_owned(),
            tokens,
            cost_micros,
        }
    }

    fn into_draft(self) -> BudgetDraft {
        let Self {
            period,
            tokens,
            cost_micros,
        } = self;
        BudgetDraft {
            period: Period::parse(&period),
            amount: tokens.map(Amount::Tokens).or(cost_micros.map(Amount::CostMicros)),
        }
    }
}
