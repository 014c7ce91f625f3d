//! How long to wait before a report is sent again: anything up to a growing limit, so that
//! many nodes do not come back at once.

use std::time::Duration;

use rand::{Rng, RngExt};

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(30);
/// Of a process that ends.
const HURRIED: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Pace {
    limit: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { limit: FIRST }
    }
}

impl Pace {
    /// Whether nothing has failed since the last success.
    pub(super) fn is_first(&self) -> bool {
        self.limit == FIRST
    }

    pub(super) fn next(&mut self, is_last: bool, random: &mut impl Rng) -> Duration {
        if is_last {
            return HURRIED;
        }
        let pause = random.random_range(FIRST / 2..=self.limit);
        self.limit = (self.limit * 2).min(LAST);
        pause
    }
}
