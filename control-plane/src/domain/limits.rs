//! What the fleet together grants a key, and the calendar of its budgets.

mod bounds;

use std::time::{Duration, SystemTime};

use time::{Date, OffsetDateTime, Time};

use super::{FieldViolation, Violations};

#[cfg(test)]
pub(crate) use bounds::tests::limits as any_limits;
pub use bounds::wider;

const PER_MINUTE_MAX: u64 = 1_000_000_000_000;
const CONCURRENT_MAX: u32 = 1_000_000;
const AMOUNT_MAX: u64 = 1_000_000_000_000_000;

/// Limits that are not yet checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u64>,
    pub concurrent_requests: Option<u32>,
    pub budgets: Vec<BudgetDraft>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetDraft {
    /// `None`: not said, or none that we know.
    pub period: Option<Period>,
    pub amount: Option<Amount>,
}

/// What a key may do. `None` and no budgets: everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u64>,
    pub concurrent_requests: Option<u32>,
    /// Each period at most once.
    pub budgets: Vec<Budget>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub period: Period,
    pub amount: Amount,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    Tokens(u64),
    /// Millionths of the currency.
    CostMicros(u64),
}

/// Of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    Day,
    /// From Monday.
    Week,
    Month,
}

impl Draft {
    pub fn check(&self) -> Result<Limits, Vec<FieldViolation>> {
        let Self {
            requests_per_minute,
            tokens_per_minute,
            concurrent_requests,
            budgets,
        } = self;
        let mut violations = Violations::default();
        let mut range = |field: &str, value: Option<u64>, max: u64| {
            if value.is_some_and(|value| !(1..=max).contains(&value)) {
                violations.add(
                    field,
                    format!(
                        "must be 1 to {max}; leave it out for no limit, disable the key to grant nothing"
                    ),
                );
            }
        };
        range(
            "requests_per_minute",
            requests_per_minute.map(u64::from),
            u32::MAX.into(),
        );
        range("tokens_per_minute", *tokens_per_minute, PER_MINUTE_MAX);
        range(
            "concurrent_requests",
            concurrent_requests.map(u64::from),
            CONCURRENT_MAX.into(),
        );
        let mut checked: Vec<Budget> = Vec::new();
        for (index, BudgetDraft { period, amount }) in budgets.iter().enumerate() {
            let field = |name: &str| format!("budgets[{index}].{name}");
            match period {
                None => violations.add(field("period"), "must be day, week or month"),
                Some(period) if checked.iter().any(|budget| budget.period == *period) => {
                    violations.add(field("period"), "is there twice");
                }
                Some(_) => {}
            }
            match amount {
                None => violations.add(field("amount"), "must be tokens or cost_micros"),
                Some(Amount::Tokens(amount) | Amount::CostMicros(amount))
                    if !(1..=AMOUNT_MAX).contains(amount) =>
                {
                    violations.add(field("amount"), format!("must be 1 to {AMOUNT_MAX}"));
                }
                Some(Amount::Tokens(_) | Amount::CostMicros(_)) => {}
            }
            if let (Some(period), Some(amount)) = (*period, *amount) {
                checked.push(Budget { period, amount });
            }
        }
        violations.finish(Some(Limits {
            requests_per_minute: *requests_per_minute,
            tokens_per_minute: *tokens_per_minute,
            concurrent_requests: *concurrent_requests,
            budgets: checked,
        }))
    }
}

impl Limits {
    /// What so many of all nodes are granted together, at least one of what is granted at
    /// all. Budgets are spent by all of them.
    #[must_use]
    pub fn part(&self, nodes: usize, of: usize) -> Self {
        let part = |limit: u64| {
            let (nodes, of) = (nodes.max(1) as u128, of.max(1) as u128);
            u64::try_from((u128::from(limit) * nodes).div_ceil(of)).map_or(limit, |part| part.min(limit))
        };
        let small = |limit: u32| u32::try_from(part(limit.into())).unwrap_or(limit);
        Self {
            requests_per_minute: self.requests_per_minute.map(small),
            tokens_per_minute: self.tokens_per_minute.map(part),
            concurrent_requests: self.concurrent_requests.map(small),
            budgets: self.budgets.clone(),
        }
    }

    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    #[must_use]
    pub fn to_draft(&self) -> Draft {
        let Self {
            requests_per_minute,
            tokens_per_minute,
            concurrent_requests,
            budgets,
        } = self;
        Draft {
            requests_per_minute: *requests_per_minute,
            tokens_per_minute: *tokens_per_minute,
            concurrent_requests: *concurrent_requests,
            budgets: budgets
                .iter()
                .map(|Budget { period, amount }| BudgetDraft {
                    period: Some(*period),
                    amount: Some(*amount),
                })
                .collect(),
        }
    }
}

impl Period {
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == text)
    }

    /// When the period that holds this moment began.
    #[must_use]
    pub fn start(self, at: SystemTime) -> SystemTime {
        system_time(self.first_day(at))
    }

    /// When it ends, and the next one begins.
    #[must_use]
    pub fn end(self, at: SystemTime) -> SystemTime {
        let first = self.first_day(at);
        let days = match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => first.month().length(first.year()).into(),
        };
        system_time(first) + Duration::from_secs(days * 24 * 60 * 60)
    }

    fn first_day(self, at: SystemTime) -> Date {
        let today = date(at);
        let back = match self {
            Self::Day => 0,
            Self::Week => today.weekday().number_days_from_monday(),
            Self::Month => today.day() - 1,
        };
        today
            .checked_sub(time::Duration::days(back.into()))
            .unwrap_or(today)
    }
}

/// Beyond what a calendar has, the day on which all time begins.
fn date(at: SystemTime) -> Date {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_or(OffsetDateTime::UNIX_EPOCH.date(), OffsetDateTime::date)
}

fn system_time(day: Date) -> SystemTime {
    let seconds = day.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_part_goes_by_nodes_and_is_never_nothing() {
        let limits = Limits {
            requests_per_minute: Some(10),
            tokens_per_minute: Some(u64::MAX),
            concurrent_requests: Some(1),
            budgets: vec![],
        };
        let part = limits.part(1, 3);
        assert_eq!(
            (
                part.requests_per_minute,
                part.tokens_per_minute,
                part.concurrent_requests
            ),
            (Some(4), Some(u64::MAX / 3), Some(1))
        );
        assert_eq!(limits.part(2, 2), limits);
        assert_eq!(limits.part(0, 0), limits);
    }

    #[test]
    fn periods_are_those_of_the_calendar_in_utc() {
        // 2024-02-29 12:00, a Thursday.
        let now = at(1_709_208_000);
        let midnight = 1_709_164_800;
        const DAY: u64 = 86_400;
        for (period, start, end) in [
            (Period::Day, midnight, midnight + DAY),
            (Period::Week, midnight - 3 * DAY, midnight + 4 * DAY),
            (Period::Month, midnight - 28 * DAY, midnight + DAY),
        ] {
            assert_eq!(
                (period.start(now), period.end(now)),
                (at(start), at(end)),
                "{period:?}"
            );
            assert_eq!(period.start(at(start)), at(start));
            assert_eq!(period.start(at(end)), at(end));
        }
    }

    #[test]
    fn every_field_is_checked() {
        let budget = |period, amount| BudgetDraft { period, amount };
        let draft = Draft {
            requests_per_minute: Some(0),
            tokens_per_minute: Some(u64::MAX),
            concurrent_requests: Some(0),
            budgets: vec![
                budget(None, None),
                budget(Some(Period::Day), Some(Amount::Tokens(0))),
                budget(Some(Period::Day), Some(Amount::CostMicros(1))),
            ],
        };
        assert_eq!(draft.check().unwrap_err().len(), 7);
        assert!(Draft::default().check().unwrap().is_unlimited());
    }
}
