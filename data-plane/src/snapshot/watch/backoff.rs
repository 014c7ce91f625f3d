//! How long to wait before connecting again: anything up to a growing limit, so that
//! many nodes do not come back at once.

use std::time::Duration;

use rand::{Rng, RngExt};

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(30);
/// A node that serves nobody has nothing better to do, and costs a control plane that
/// is not there nothing.
const LAST_UNSERVING: Duration = Duration::from_secs(1);
/// The contract's pause for who is refused.
const REFUSED_LEAST: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Backoff {
    limit: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { limit: FIRST }
    }
}

impl Backoff {
    pub(super) fn next(&mut self, is_serving: bool, random: &mut impl Rng) -> Duration {
        let last = if is_serving { LAST } else { LAST_UNSERVING };
        let pause = random.random_range(FIRST / 2..=self.limit.min(last));
        self.limit = (self.limit * 2).min(LAST);
        pause
    }

    /// For who is refused until somebody does something.
    pub(super) fn refused(random: &mut impl Rng) -> Duration {
        random.random_range(REFUSED_LEAST..=LAST)
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let mut random = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..200).map(|_| backoff.next(true, &mut random)).collect();
        assert!(pauses[0] <= FIRST);
        assert!(pauses.iter().all(|pause| *pause <= LAST));
        assert!(pauses[20..].iter().any(|pause| *pause > LAST / 2), "they grow");
        assert!(
            pauses[20..].iter().any(|pause| *pause < LAST / 2),
            "they are spread"
        );
        assert!((0..200).all(|_| backoff.next(false, &mut random) <= LAST_UNSERVING));
        let refused = (0..200).map(|_| Backoff::refused(&mut random));
        assert!(
            refused
                .into_iter()
                .all(|pause| pause >= Duration::from_secs(15) && pause <= LAST)
        );
    }
}
