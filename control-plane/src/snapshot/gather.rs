//! When to publish: changes that come together go out together, but none waits
//! long, and a revocation does not wait at all.
//!
//! Pure: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// A change waits this long for another one.
const QUIET: Duration = Duration::from_millis(50);
/// The first of a run of changes waits at most this long.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// Changes that are not published yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Gather {
    #[default]
    Nothing,
    Waiting {
        first: Instant,
        last: Instant,
    },
    Urgent {
        at: Instant,
    },
}

impl Gather {
    pub(crate) fn changed(self, now: Instant) -> Self {
        match self {
            Self::Nothing => Self::Waiting {
                first: now,
                last: now,
            },
            Self::Waiting { first, last: _ } => Self::Waiting { first, last: now },
            Self::Urgent { .. } => self,
        }
    }

    pub(crate) fn urgent(self, now: Instant) -> Self {
        match self {
            Self::Nothing | Self::Waiting { .. } => Self::Urgent { at: now },
            Self::Urgent { .. } => self,
        }
    }

    /// When to publish; `None`: there is nothing to publish.
    pub(crate) fn due(self) -> Option<Instant> {
        match self {
            Self::Nothing => None,
            Self::Waiting { first, last } => Some((last + QUIET).min(first + WAIT_MAX)),
            Self::Urgent { at } => Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn one_change_waits_for_quiet() {
        let start = Instant::now();
        assert_eq!(Gather::default().due(), None);
        assert_eq!(Gather::default().changed(start).due(), Some(start + QUIET));
    }

    #[test]
    fn a_run_of_changes_goes_out_together_but_not_late() {
        let start = Instant::now();
        let mut gather = Gather::default();
        for n in 0..20 {
            gather = gather.changed(start + ms(n * 40));
        }
        assert_eq!(gather.due(), Some(start + WAIT_MAX));
    }

    #[test]
    fn a_revocation_goes_out_at_once_and_takes_the_others_along() {
        let start = Instant::now();
        let gather = Gather::default()
            .changed(start)
            .urgent(start + ms(10))
            .changed(start + ms(20));
        assert_eq!(gather.due(), Some(start + ms(10)));
    }
}
