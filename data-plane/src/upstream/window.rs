//! Counts of what happened within the last ten seconds, second by second.
//!
//! Pure on purpose: time is an argument. What was counted leaves in steps of a second,
//! so that a window costs the same whatever happens in it.

use std::time::{Duration, Instant};

const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_secs(1);

/// `N` counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window<const N: usize> {
    /// When the newest slot began.
    began: Instant,
    /// The newest first.
    slots: [[u32; N]; SLOTS],
}

impl<const N: usize> Window<N> {
    pub(crate) const LENGTH: Duration = Duration::from_secs(SLOT.as_secs() * SLOTS as u64);

    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            slots: [[0; N]; SLOTS],
        }
    }

    /// The same with one more of everything that is set in `more`.
    pub(crate) fn with(mut self, more: [u32; N], now: Instant) -> Self {
        self.add(more, now);
        self
    }

    pub(crate) fn add(&mut self, more: [u32; N], now: Instant) {
        self.advance(now);
        if let Some(newest) = self.slots.first_mut() {
            add(newest, more);
        }
    }

    pub(crate) fn sums(&mut self, now: Instant) -> [u32; N] {
        self.advance(now);
        let mut sums = [0; N];
        for slot in self.slots {
            add(&mut sums, slot);
        }
        sums
    }

    /// Whether nothing of it is left.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.age(now) >= Self::LENGTH
    }

    /// Since something was last counted, to the second.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began).as_secs() / SLOT.as_secs();
        if passed == 0 {
            return;
        }
        let gone = usize::try_from(passed).unwrap_or(SLOTS).min(SLOTS);
        self.slots.rotate_right(gone);
        self.slots.iter_mut().take(gone).for_each(|slot| *slot = [0; N]);
        // In whole slots, so that slots do not move.
        self.began = self.began.checked_add(Duration::from_secs(passed)).unwrap_or(now);
    }
}

fn add<const N: usize>(sums: &mut [u32; N], more: [u32; N]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = sum.saturating_add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_leaves_after_ten_seconds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut window = Window::new(start);
        window.add([1, 0], at(0));
        window.add([0, 1], at(999));
        window.add([2, 3], at(5_500));
        assert_eq!(window.sums(at(9_999)), [3, 4]);
        assert_eq!(window.sums(at(10_000)), [2, 3]);
        assert_eq!(window.sums(at(14_999)), [2, 3]);
        assert_eq!(window.sums(at(15_000)), [0, 0]);
    }

    #[test]
    fn a_long_silence_empties_it_and_an_instant_of_before_counts_as_the_newest() {
        let start = Instant::now();
        let later = start + Duration::from_secs(100_000);
        let mut window = Window::new(start).with([7], start);
        assert!(!window.is_over(start) && window.is_over(later));
        assert_eq!(window.sums(later), [0]);
        window.add([1], start);
        assert_eq!(window.sums(later), [1]);
    }
}
