//! How many retries a provider may cost: a tenth of its requests, and a few more, so that
//! a provider in trouble is not drowned in second tries.
//!
//! Pure on purpose: time is an argument. Counted are retries of the same candidate. Falling
//! over is none: it takes load away from who is in trouble, and `max_attempts` bounds it.

use std::{collections::HashMap, time::Instant};

use super::window::Window;

/// Of this many requests one may be repeated.
const REQUESTS_PER_RETRY: u32 = 10;
/// So that a provider with few requests gets retries at all.
const RETRIES_FREE: u32 = 3;
/// Names of providers are an admin's, but they change over the life of a process.
const ENTRIES_MAX: usize = 1_000;

/// Requests and retries.
#[derive(Debug, Default)]
pub(crate) struct RetryBudgets(HashMap<Box<str>, Window<2>>);

impl RetryBudgets {
    /// A provider is asked, and not for a second time.
    pub(crate) fn deposit(&mut self, provider: &str, now: Instant) {
        if let Some(window) = self.of(provider, now) {
            window.add([1, 0], now);
        }
    }

    /// Takes one retry, if there is one left.
    pub(crate) fn withdraw(&mut self, provider: &str, now: Instant) -> bool {
        let Some(window) = self.of(provider, now) else {
            return false;
        };
        let [requests, retries] = window.sums(now);
        let is_left = retries < requests / REQUESTS_PER_RETRY + RETRIES_FREE;
        if is_left {
            window.add([0, 1], now);
        }
        is_left
    }

    /// `None` if there are too many providers to remember.
    fn of(&mut self, provider: &str, now: Instant) -> Option<&mut Window<2>> {
        if !self.0.contains_key(provider) {
            if self.0.len() >= ENTRIES_MAX {
                self.0.retain(|_, window| !window.is_over(now));
            }
            if self.0.len() >= ENTRIES_MAX {
                return None;
            }
            self.0.insert(provider.into(), Window::new(now));
        }
        self.0.get_mut(provider)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tenth_of_the_requests_and_three() {
        let now = Instant::now();
        let mut budgets = RetryBudgets::default();
        for _ in 0..50 {
            budgets.deposit("p", now);
        }
        let granted = (0..20).filter(|_| budgets.withdraw("p", now)).count();
        assert_eq!(granted, 5 + 3);
        assert!(budgets.withdraw("other", now), "each provider has its own");
        let later = now + Window::<2>::LENGTH;
        let granted = (0..20).filter(|_| budgets.withdraw("p", later)).count();
        assert_eq!(granted, 3, "what is over is forgotten");
    }

    #[test]
    fn providers_without_end_do_not_fill_the_memory() {
        let now = Instant::now();
        let mut budgets = RetryBudgets::default();
        for number in 0..ENTRIES_MAX + 10 {
            budgets.deposit(&number.to_string(), now);
        }
        assert_eq!(budgets.0.len(), ENTRIES_MAX);
        assert!(budgets.withdraw("new", now + Window::<2>::LENGTH));
    }

    proptest! {
        /// Against a diary of everything that happened.
        #[test]
        fn it_does_what_the_reference_does(steps in prop::collection::vec((0_u8..10, 0_u64..3), 1..400)) {
            let start = Instant::now();
            let mut budgets = RetryBudgets::default();
            let (mut requests, mut retries, mut now) = (Vec::new(), Vec::new(), 0_u64);
            for (step, seconds) in steps {
                let at = start + Duration::from_secs(now);
                if step < 7 {
                    budgets.deposit("p", at);
                    requests.push(now);
                } else {
                    let recent = |times: &[u64]| times.iter().filter(|time| **time + 10 > now).count();
                    let is_left = recent(&retries) < recent(&requests) / 10 + 3;
                    prop_assert_eq!(budgets.withdraw("p", at), is_left);
                    if is_left {
                        retries.push(now);
                    }
                }
                // Mostly within one second.
                now += u64::from(step == 0) * seconds;
            }
        }
    }
}
