//! One key on this node: what was asked, what was granted, what runs, what is spent.

use std::time::SystemTime;

use super::{
    Spent,
    budget::Spending,
    grant::Settled,
    refusal::Refusal,
    share::{Granted, Share},
    window::Window,
};
use crate::snapshot::limits::{KeyLimits, Unit};

#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    pub(super) share: Share,
    asked_requests: Window,
    asked_tokens: Window,
    /// The most at once that was asked for.
    asked_at_once: Window,
    requests: Window,
    tokens: Window,
    running: u64,
    /// Of the requests that run.
    running_tokens: u64,
    budgets: Vec<Spending>,
}

/// What clients asked for in the last minute, granted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) requests: u64,
    pub(crate) tokens: u64,
    pub(crate) concurrent: u64,
}

/// What this node still grants of the limits per minute, and how long until all of it is
/// granted again, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) requests: Option<(u64, u64)>,
    pub(super) tokens: Option<(u64, u64)>,
}

impl Account {
    pub(super) fn admit(
        &mut self,
        limits: &KeyLimits,
        share: Granted,
        estimate: u64,
        now: u64,
        wall: SystemTime,
    ) -> Result<(), Refusal> {
        self.asked_requests.add(now, 1);
        self.asked_tokens.add(now, estimate);
        self.asked_at_once.raise(now, self.running + 1);
        self.follow(limits, wall);
        self.check_budgets(wall)?;
        self.check(limits, share, estimate, now, wall)?;
        self.requests.add(now, 1);
        self.tokens.add(now, estimate);
        self.running += 1;
        self.running_tokens = self.running_tokens.saturating_add(estimate);
        Ok(())
    }

    fn check(
        &self,
        limits: &KeyLimits,
        share: Granted,
        estimate: u64,
        now: u64,
        wall: SystemTime,
    ) -> Result<(), Refusal> {
        if let (Some(limit), Some(share)) = (limits.requests_per_minute, share.requests) {
            let used = self.requests.sum(now);
            if used >= share {
                let wait = self.requests.wait(now, share - 1);
                let limit = (limit.into(), share);
                return Err(Refusal::per_minute("requests", limit, used, wait, wall));
            }
        }
        if let (Some(limit), Some(share)) = (limits.tokens_per_minute, share.tokens) {
            let used = self.tokens.sum(now);
            // What is larger than the whole is let in alone: it would never fit.
            if used > 0 && used.saturating_add(estimate) > share {
                let wait = self.tokens.wait(now, share.saturating_sub(estimate));
                return Err(Refusal::per_minute("tokens", (limit, share), used, wait, wall));
            }
        }
        if let (Some(limit), Some(share)) = (limits.concurrent_requests, share.concurrent)
            && self.running >= share
        {
            return Err(Refusal::at_once((limit.into(), share), self.running));
        }
        Ok(())
    }

    fn check_budgets(&self, wall: SystemTime) -> Result<(), Refusal> {
        for spending in &self.budgets {
            let budget = spending.budget();
            let running = match budget.unit {
                Unit::Tokens => self.running_tokens,
                // Who will answer, and at what price, is not known yet.
                Unit::CostMicros => 0,
            };
            let used = spending.used().saturating_add(running);
            if used >= budget.amount {
                let (kind, resets_at) = ((budget.period, budget.unit), spending.resets_at());
                return Err(Refusal::budget(kind, budget.amount, used, resets_at, wall));
            }
        }
        Ok(())
    }

    /// Keeps one account for each budget that there is by now.
    fn follow(&mut self, limits: &KeyLimits, wall: SystemTime) {
        self.budgets.truncate(limits.budgets.len());
        for (place, budget) in limits.budgets.iter().enumerate() {
            match self.budgets.get_mut(place) {
                Some(spending) => spending.follow(*budget, wall),
                None => self.budgets.push(Spending::new(*budget, wall)),
            }
        }
    }

    pub(super) fn settle(&mut self, settled: &Settled, now: u64) {
        let Settled {
            now: _,
            admitted,
            estimate,
            tokens,
            cost_micros,
        } = *settled;
        self.running = self.running.saturating_sub(1);
        self.running_tokens = self.running_tokens.saturating_sub(estimate);
        if tokens >= estimate {
            self.tokens.add(now.max(admitted), tokens - estimate);
            self.asked_tokens.add(now.max(admitted), tokens - estimate);
        } else {
            self.tokens.take_back(admitted, estimate - tokens);
            self.asked_tokens.take_back(admitted, estimate - tokens);
        }
        for spending in &mut self.budgets {
            spending.spend(tokens, cost_micros);
        }
    }

    pub(super) fn shared(&mut self, share: Share, spent: &[Spent], counted_sequence: u64) {
        self.share = share;
        for Spent { period, told } in spent {
            let same = self
                .budgets
                .iter_mut()
                .filter(|spending| spending.budget().period == *period);
            same.for_each(|spending| spending.told(*told, counted_sequence));
        }
    }

    pub(super) fn reported(&mut self, sequence: u64, tokens: u64, cost_micros: u64) {
        for spending in &mut self.budgets {
            spending.reported(sequence, tokens, cost_micros);
        }
    }

    pub(super) fn used(&self, now: u64) -> Use {
        Use {
            requests: self.asked_requests.sum(now),
            tokens: self.asked_tokens.sum(now),
            concurrent: self.asked_at_once.max(now).max(self.running),
        }
    }

    pub(super) fn left(&self, share: Granted, now: u64) -> Left {
        let left = |window: &Window, share: Option<u64>| {
            share.map(|share| (share.saturating_sub(window.sum(now)), window.wait(now, 0)))
        };
        Left {
            requests: left(&self.requests, share.requests),
            tokens: left(&self.tokens, share.tokens),
        }
    }

    /// Nothing of it is needed but what the control plane can say again.
    pub(super) fn is_idle(&self, now: u64) -> bool {
        self.running == 0 && self.asked_requests.sum(now) == 0 && self.tokens.sum(now) == 0
    }
}
