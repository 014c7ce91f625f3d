//! Whether limits grant more than others do, field by field. No limit is the widest.

use super::{Amount, Budget, Draft, Limits, Period};
use crate::domain::{FieldViolation, Violations};

/// Where `asked` grants what `most` does not, with the most that there is; empty: nowhere.
#[must_use]
pub fn wider(asked: &Limits, most: &Limits) -> Vec<FieldViolation> {
    let mut violations = Violations::default();
    for (field, asked, most) in [
        (
            "requests_per_minute",
            asked.requests_per_minute.map(u64::from),
            most.requests_per_minute.map(u64::from),
        ),
        (
            "tokens_per_minute",
            asked.tokens_per_minute,
            most.tokens_per_minute,
        ),
        (
            "concurrent_requests",
            asked.concurrent_requests.map(u64::from),
            most.concurrent_requests.map(u64::from),
        ),
    ] {
        if let Some(most) = most
            && asked.is_none_or(|asked| asked > most)
        {
            violations.add(field, format!("must be there and at most {most}"));
        }
    }
    for Budget { period, amount } in &most.budgets {
        let place = asked.budgets.iter().position(|asked| asked.period == *period);
        let is_within = place.is_some_and(|place| is_at_most(asked.budgets[place].amount, *amount));
        if !is_within {
            let field = place.map_or_else(
                || "budgets".to_owned(),
                |place| format!("budgets[{place}].amount"),
            );
            violations.add(field, most_of(*period, *amount));
        }
    }
    violations.into_vec()
}

/// Tokens and money cannot be compared.
fn is_at_most(asked: Amount, most: Amount) -> bool {
    match (asked, most) {
        (Amount::Tokens(asked), Amount::Tokens(most))
        | (Amount::CostMicros(asked), Amount::CostMicros(most)) => asked <= most,
        (Amount::Tokens(_), Amount::CostMicros(_)) | (Amount::CostMicros(_), Amount::Tokens(_)) => false,
    }
}

fn most_of(period: Period, amount: Amount) -> String {
    let (amount, unit) = match amount {
        Amount::Tokens(tokens) => (tokens, "tokens"),
        Amount::CostMicros(micros) => (micros, "cost_micros"),
    };
    format!(
        "must have a budget of at most {amount} {unit} a {}",
        period.as_str()
    )
}

impl Draft {
    /// These limits, and the other ones where these say nothing.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        let Self {
            requests_per_minute,
            tokens_per_minute,
            concurrent_requests,
            mut budgets,
        } = self;
        for budget in &other.budgets {
            if !budgets.iter().any(|own| own.period == budget.period) {
                budgets.push(*budget);
            }
        }
        Self {
            requests_per_minute: requests_per_minute.or(other.requests_per_minute),
            tokens_per_minute: tokens_per_minute.or(other.tokens_per_minute),
            concurrent_requests: concurrent_requests.or(other.concurrent_requests),
            budgets,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn amount()(is_money: bool, amount in 1..4_u64) -> Amount {
            if is_money { Amount::CostMicros(amount) } else { Amount::Tokens(amount) }
        }
    }

    prop_compose! {
        /// Small numbers, so that they meet.
        pub(crate) fn limits()(
            requests_per_minute in proptest::option::of(1..4_u32),
            tokens_per_minute in proptest::option::of(1..4_u64),
            concurrent_requests in proptest::option::of(1..4_u32),
            amounts in proptest::array::uniform3(proptest::option::of(amount())),
        ) -> Limits {
            let budgets = Period::ALL.into_iter().zip(amounts);
            Limits {
                requests_per_minute,
                tokens_per_minute,
                concurrent_requests,
                budgets: budgets
                    .filter_map(|(period, amount)| amount.map(|amount| Budget { period, amount }))
                    .collect(),
            }
        }
    }

    /// What somebody has used, and in which unit it counts.
    fn grants(limits: &Limits, used: u64, is_money: bool) -> [bool; 6] {
        let within = |limit: Option<u64>| limit.is_none_or(|limit| used <= limit);
        let budget = |period: Period| {
            let mut budgets = limits.budgets.iter();
            let limit = budgets.find(|budget| budget.period == period).map(|it| it.amount);
            within(match limit {
                Some(Amount::Tokens(tokens)) if !is_money => Some(tokens),
                Some(Amount::CostMicros(micros)) if is_money => Some(micros),
                Some(Amount::Tokens(_) | Amount::CostMicros(_)) | None => None,
            })
        };
        [
            within(limits.requests_per_minute.map(u64::from)),
            within(limits.tokens_per_minute),
            within(limits.concurrent_requests.map(u64::from)),
            budget(Period::Day),
            budget(Period::Week),
            budget(Period::Month),
        ]
    }

    proptest! {
        #[test]
        fn what_is_no_wider_grants_nothing_more(
            asked in limits(),
            most in limits(),
            used in 0..5_u64,
            is_money: bool,
        ) {
            if wider(&asked, &most).is_empty() {
                let pairs = grants(&asked, used, is_money).into_iter().zip(grants(&most, used, is_money));
                for (asked, most) in pairs {
                    prop_assert!(most || !asked);
                }
            }
        }

        #[test]
        fn nothing_is_wider_than_itself_and_no_limit_is_the_widest(limits in limits()) {
            prop_assert_eq!(wider(&limits, &limits), vec![]);
            prop_assert_eq!(wider(&limits, &Limits::default()), vec![]);
            prop_assert_eq!(wider(&Limits::default(), &limits).is_empty(), limits.is_unlimited());
        }

        #[test]
        fn no_wider_than_what_is_no_wider_is_no_wider(a in limits(), b in limits(), c in limits()) {
            if wider(&a, &b).is_empty() && wider(&b, &c).is_empty() {
                prop_assert_eq!(wider(&a, &c), vec![]);
            }
        }

        #[test]
        fn what_is_not_said_is_what_others_say(asked in limits(), others in limits()) {
            let both = asked.to_draft().or(&others.to_draft()).check().unwrap();
            prop_assert_eq!(wider(&both, &asked), vec![]);
            let silent = Limits::default().to_draft().or(&others.to_draft()).check().unwrap();
            prop_assert_eq!(silent, others);
        }
    }

    #[test]
    fn the_most_that_there_is_is_told_by_field() {
        let most = Limits {
            requests_per_minute: Some(60),
            budgets: vec![
                Budget {
                    period: Period::Day,
                    amount: Amount::Tokens(7),
                },
                Budget {
                    period: Period::Month,
                    amount: Amount::CostMicros(9),
                },
            ],
            ..Limits::default()
        };
        let asked = Limits {
            requests_per_minute: Some(61),
            budgets: vec![Budget {
                period: Period::Month,
                amount: Amount::Tokens(1),
            }],
            ..Limits::default()
        };
        let told: Vec<_> = wider(&asked, &most).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "requests_per_minute: must be there and at most 60",
                "budgets: must have a budget of at most 7 tokens a day",
                "budgets[0].amount: must have a budget of at most 9 cost_micros a month",
            ]
        );
    }
}
