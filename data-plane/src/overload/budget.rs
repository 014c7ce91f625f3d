//! Memory for bodies, shared by all requests: what clients send, and what of an upstream's answer
//! is kept.
//!
//! Taken as a body grows and given back when nothing holds it. Nobody waits for memory: who
//! finds none is turned away, so that those who have some can finish.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::Shortage;

/// Bodies that are taken for small, and the part of the budget that only they may use: a few
/// huge ones must not turn everybody away.
const SMALL_BYTES_MAX: u64 = 1 << 20;
const SMALL_PART: u64 = 8;

#[derive(Debug)]
pub(crate) struct Budget {
    free: AtomicU64,
    max: u64,
}

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self {
            free: AtomicU64::new(max),
            max,
        })
    }

    /// The least budget in which one large body of this cost fits.
    pub(crate) const fn for_one(cost: u64) -> u64 {
        (cost * SMALL_PART).div_ceil(SMALL_PART - 1)
    }

    /// Nothing yet.
    pub(crate) fn hold(self: &Arc<Self>) -> Held {
        Held {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.max - self.free.load(Ordering::Relaxed)
    }
}

impl Held {
    /// Holds so many bytes in all, or what it held before.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<(), Shortage> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let kept = if bytes > SMALL_BYTES_MAX {
            self.budget.max.div_ceil(SMALL_PART)
        } else {
            0
        };
        let take = |free: u64| free.checked_sub(more).filter(|left| *left >= kept);
        self.budget
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .map_err(|_| Shortage::Memory)?;
        self.bytes += more;
        Ok(())
    }

    /// Gives back what it holds beyond so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        if less == 0 {
            return;
        }
        self.bytes -= less;
        self.budget.free.fetch_add(less, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.free.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_held_is_given_back_once() {
        let budget = Budget::new(80 * MIB);
        let (mut one, mut other) = (budget.hold(), budget.hold());
        one.grow_to(40 * MIB).unwrap();
        one.grow_to(30 * MIB).unwrap();
        assert_eq!(budget.used(), 40 * MIB);
        assert_eq!(other.grow_to(41 * MIB), Err(Shortage::Memory));
        other.grow_to(30 * MIB).unwrap();
        drop(one);
        assert_eq!(budget.used(), 30 * MIB);
        other.shrink_to(50 * MIB);
        other.shrink_to(10 * MIB);
        assert_eq!(budget.used(), 10 * MIB);
        drop(other);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn the_least_budget_is_enough_for_one_and_no_less() {
        for cost in [2 * MIB, 96 * MIB, 96 * MIB + 5] {
            let least = Budget::for_one(cost);
            Budget::new(least).hold().grow_to(cost).unwrap();
            assert!(Budget::new(least - 1).hold().grow_to(cost).is_err());
        }
    }

    #[test]
    fn large_bodies_leave_room_for_small_ones() {
        let budget = Budget::new(80 * MIB);
        let mut large = budget.hold();
        assert_eq!(large.grow_to(71 * MIB), Err(Shortage::Memory));
        large.grow_to(70 * MIB).unwrap();
        let mut small: Vec<_> = (0..10).map(|_| budget.hold()).collect();
        for held in &mut small {
            held.grow_to(MIB).unwrap();
        }
        assert_eq!(budget.hold().grow_to(1), Err(Shortage::Memory));
    }
}
