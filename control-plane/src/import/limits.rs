//! Limits of API keys as files have them.

use super::object::Object;
use crate::domain::{
    Violations,
    limits::{Amount, BudgetDraft, Draft, Period},
};

/// The member `limits`, if it is there; paths of fields that nobody knows are added to
/// `unknown`.
pub(super) fn read(
    holder: &mut Object,
    violations: &mut Violations,
    unknown: &mut Vec<String>,
) -> Option<Draft> {
    let path = format!("{}.limits", holder.path());
    let value = holder.take("limits")?;
    let mut object = Object::of(path.clone(), value, violations)?;
    let budgets = object.list("budgets", violations).into_iter();
    let budgets: Vec<Object> = budgets
        .enumerate()
        .filter_map(|(index, value)| Object::of(format!("{path}.budgets[{index}]"), value, violations))
        .collect();
    let draft = Draft {
        requests_per_minute: object.integer("requests_per_minute", violations),
        tokens_per_minute: object.integer("tokens_per_minute", violations),
        concurrent_requests: object.integer("concurrent_requests", violations),
        budgets: budgets
            .into_iter()
            .map(|mut object| {
                let budget = budget(&mut object, violations);
                unknown.extend(object.into_unknown());
                budget
            })
            .collect(),
    };
    unknown.extend(object.into_unknown());
    Some(draft)
}

fn budget(object: &mut Object, violations: &mut Violations) -> BudgetDraft {
    let period = object.text("period", violations);
    let tokens = object.integer("tokens", violations).map(Amount::Tokens);
    let cost = object.integer("cost_micros", violations).map(Amount::CostMicros);
    if tokens.is_some() && cost.is_some() {
        violations.add(object.path(), "must have either `tokens` or `cost_micros`");
    }
    BudgetDraft {
        period: period.and_then(|period| Period::parse(&period)),
        amount: tokens.or(cost),
    }
}
