//! What is spent of one budget: what the control plane knows of the fleet, and what this
//! node has served since and it does not know yet.

use std::time::SystemTime;

use super::calendar;
use crate::snapshot::limits::{Budget, Unit};

/// Reports that are on their way; more are counted as one.
const SENT_MAX: usize = 16;

/// As the control plane told it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) used: u64,
    pub(crate) resets_at: SystemTime,
}

#[derive(Debug, Clone)]
pub(super) struct Spending {
    budget: Budget,
    resets_at: SystemTime,
    /// By the whole fleet, as the control plane said last.
    base: u64,
    /// By this node, in no report yet.
    unreported: u64,
    /// By this node, in reports that the control plane may not have counted in `base`.
    sent: Vec<(u64, u64)>,
}

impl Spending {
    pub(super) fn new(budget: Budget, now: SystemTime) -> Self {
        Self {
            budget,
            resets_at: calendar::end(budget.period, now),
            base: 0,
            unreported: 0,
            sent: Vec::new(),
        }
    }

    /// The same for what the budget is by now. In another unit nothing of it is known.
    pub(super) fn follow(&mut self, budget: Budget, now: SystemTime) {
        if budget.unit != self.budget.unit || budget.period != self.budget.period {
            *self = Self::new(budget, now);
        } else {
            self.budget = budget;
            self.roll(now);
        }
    }

    pub(super) fn budget(&self) -> Budget {
        self.budget
    }

    pub(super) fn resets_at(&self) -> SystemTime {
        self.resets_at
    }

    pub(super) fn used(&self) -> u64 {
        let sent = self
            .sent
            .iter()
            .fold(0, |sum: u64, (_, spent)| sum.saturating_add(*spent));
        self.base.saturating_add(self.unreported).saturating_add(sent)
    }

    pub(super) fn spend(&mut self, tokens: u64, cost_micros: u64) {
        self.unreported = self.unreported.saturating_add(self.in_unit(tokens, cost_micros));
    }

    pub(super) fn reported(&mut self, sequence: u64, tokens: u64, cost_micros: u64) {
        let spent = self.in_unit(tokens, cost_micros).min(self.unreported);
        self.unreported -= spent;
        let is_full = self.sent.len() >= SENT_MAX;
        match self.sent.last_mut() {
            // Counted with the latest of them: until then rather too much is known than too little.
            Some((latest, last)) if is_full || *latest == sequence => {
                *latest = sequence;
                *last = last.saturating_add(spent);
            }
            Some(_) | None => self.sent.push((sequence, spent)),
        }
    }

    /// What is told of another period is of no use.
    pub(super) fn told(&mut self, told: Told, counted_sequence: u64) {
        if told.resets_at == self.resets_at {
            self.base = told.used;
            self.sent.retain(|(sequence, _)| *sequence > counted_sequence);
        }
    }

    fn roll(&mut self, now: SystemTime) {
        if now >= self.resets_at {
            *self = Self::new(self.budget, now);
        }
    }

    fn in_unit(&self, tokens: u64, cost_micros: u64) -> u64 {
        match self.budget.unit {
            Unit::Tokens => tokens,
            Unit::CostMicros => cost_micros,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::snapshot::limits::Period;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn spending() -> Spending {
        let budget = Budget {
            period: Period::Day,
            unit: Unit::Tokens,
            amount: 100,
        };
        Spending::new(budget, at(1_000))
    }

    #[test]
    fn nothing_counts_twice_and_nothing_is_forgotten() {
        let mut spending = spending();
        let told = |used| Told {
            used,
            resets_at: at(86_400),
        };
        spending.spend(10, 999);
        assert_eq!(spending.used(), 10);
        spending.reported(1, 10, 0);
        spending.spend(5, 0);
        assert_eq!(spending.used(), 15);
        spending.told(told(30), 0);
        assert_eq!(spending.used(), 45, "the report is not counted yet");
        spending.told(told(40), 1);
        assert_eq!(spending.used(), 45);
        spending.told(
            Told {
                used: 7,
                resets_at: at(5),
            },
            9,
        );
        assert_eq!(spending.used(), 45, "that was another day");
    }

    #[test]
    fn a_new_period_begins_with_nothing() {
        let mut spending = spending();
        spending.spend(10, 0);
        spending.follow(spending.budget(), at(86_399));
        assert_eq!(spending.used(), 10);
        spending.follow(spending.budget(), at(86_400));
        assert_eq!((spending.used(), spending.resets_at()), (0, at(2 * 86_400)));
    }

    #[test]
    fn many_reports_without_an_answer_take_no_more_room() {
        let mut spending = spending();
        for sequence in 0..100 {
            spending.spend(1, 0);
            spending.reported(sequence, 1, 0);
        }
        assert_eq!((spending.used(), spending.sent.len()), (100, SENT_MAX));
        let told = |used| Told {
            used,
            resets_at: at(86_400),
        };
        // So many of them are counted, and the rest is not forgotten.
        spending.told(told(51), 50);
        assert!(spending.used() >= 100, "{}", spending.used());
        spending.told(told(100), 99);
        assert_eq!(spending.used(), 100);
    }
}
