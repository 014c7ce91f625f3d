//! Which node gets a risky change first, and when the others follow.
//!
//! Pure: time and what nodes have answered are arguments. A change that a node cannot
//! use, or that ends it, is seen at one node and not at all of them.

use std::time::Duration;

use tokio::time::Instant;

use super::nodes::{Answer, NodeId};
use super::point::Point;

/// The others wait for the first this long.
pub(crate) const CANARY_WAIT: Duration = Duration::from_secs(2);
/// That many nodes went away with a change before they answered: the others do not get it.
const LOST_MAX: u32 = 2;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Rollout {
    /// Everybody may have everything.
    #[default]
    Settled,
    Waiting {
        canary: NodeId,
        until: Instant,
        lost: u32,
    },
    Stopped {
        canary: NodeId,
        revision: u64,
        reason: String,
    },
}

/// What follows of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wait,
    Release,
    Stop,
}

impl Rollout {
    /// A risky change is held back. `first` is the node that might get it.
    pub(crate) fn begin(&mut self, first: Option<NodeId>, now: Instant) -> Verdict {
        match (&*self, first) {
            (Self::Waiting { .. }, _) => Verdict::Wait,
            (Self::Settled | Self::Stopped { .. }, Some(canary)) => {
                *self = Self::Waiting {
                    canary,
                    until: now + CANARY_WAIT,
                    lost: 0,
                };
                Verdict::Wait
            }
            (Self::Settled | Self::Stopped { .. }, None) => self.settle(),
        }
    }

    /// Looks at the node that got it first. `answer` is `None` if it is not connected;
    /// `next` might get it then.
    pub(crate) fn look(
        &mut self,
        newest: &Point,
        answer: Option<&Answer>,
        next: Option<NodeId>,
        now: Instant,
    ) -> Verdict {
        let Self::Waiting { canary, until, lost } = &*self else {
            return Verdict::Wait;
        };
        let (canary, until, lost) = (canary.clone(), *until, *lost);
        match (answer, next) {
            (
                Some(Answer {
                    acked: Some(acked), ..
                }),
                _,
            ) if acked == newest => self.settle(),
            (
                Some(Answer {
                    refused: Some((refused, reason)),
                    ..
                }),
                _,
            ) if refused == newest => self.stop(canary, newest, reason.clone()),
            (None, _) if lost + 1 >= LOST_MAX => {
                let reason = "nodes went away before they answered".to_owned();
                self.stop(canary, newest, reason)
            }
            (Some(_) | None, _) if now >= until => self.settle(),
            (None, Some(next)) => {
                *self = Self::Waiting {
                    canary: next,
                    until,
                    lost: lost + 1,
                };
                Verdict::Wait
            }
            (Some(_) | None, _) => Verdict::Wait,
        }
    }

    pub(crate) fn canary(&self) -> Option<&NodeId> {
        match self {
            Self::Waiting { canary, .. } => Some(canary),
            Self::Settled | Self::Stopped { .. } => None,
        }
    }

    /// When the others are no longer kept waiting.
    pub(crate) fn until(&self) -> Option<Instant> {
        match self {
            Self::Waiting { until, .. } => Some(*until),
            Self::Settled | Self::Stopped { .. } => None,
        }
    }

    fn settle(&mut self) -> Verdict {
        *self = Self::Settled;
        Verdict::Release
    }

    fn stop(&mut self, canary: NodeId, newest: &Point, reason: String) -> Verdict {
        *self = Self::Stopped {
            canary,
            revision: newest.revision(),
            reason,
        };
        Verdict::Stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> NodeId {
        NodeId::parse(text).unwrap()
    }

    fn acked(revision: u64) -> Answer {
        Answer {
            acked: Some(Point::test(revision)),
            refused: None,
        }
    }

    fn refused(revision: u64) -> Answer {
        Answer {
            acked: Some(Point::test(1)),
            refused: Some((Point::test(revision), "no".to_owned())),
        }
    }

    fn begun(now: Instant) -> Rollout {
        let mut rollout = Rollout::default();
        assert_eq!(rollout.begin(Some(id("a")), now), Verdict::Wait);
        rollout
    }

    #[test]
    fn without_nodes_nobody_waits() {
        let mut rollout = Rollout::default();
        assert_eq!(rollout.begin(None, Instant::now()), Verdict::Release);
    }

    #[test]
    fn the_others_follow_after_the_ack_of_what_is_newest() {
        let now = Instant::now();
        let mut rollout = begun(now);
        let newest = Point::test(7);
        assert_eq!(rollout.look(&newest, Some(&acked(6)), None, now), Verdict::Wait);
        assert_eq!(rollout.begin(Some(id("b")), now), Verdict::Wait);
        assert_eq!(rollout.canary(), Some(&id("a")), "one is under way");
        assert_eq!(
            rollout.look(&newest, Some(&acked(7)), None, now),
            Verdict::Release
        );
        assert_eq!(rollout, Rollout::Settled);
    }

    #[test]
    fn a_refusal_stops_it_until_the_next_change() {
        let now = Instant::now();
        let mut rollout = begun(now);
        let newest = Point::test(7);
        assert_eq!(rollout.look(&newest, Some(&refused(6)), None, now), Verdict::Wait);
        assert_eq!(rollout.look(&newest, Some(&refused(7)), None, now), Verdict::Stop);
        let later = now + CANARY_WAIT * 2;
        assert_eq!(
            rollout.look(&newest, Some(&refused(7)), None, later),
            Verdict::Wait
        );
        assert_eq!(rollout.begin(Some(id("b")), later), Verdict::Wait);
        assert_eq!(rollout.canary(), Some(&id("b")));
    }

    #[test]
    fn silence_holds_up_nobody_for_long() {
        let now = Instant::now();
        let mut rollout = begun(now);
        let newest = Point::test(7);
        let almost = now + CANARY_WAIT - Duration::from_millis(1);
        assert_eq!(
            rollout.look(&newest, Some(&acked(1)), None, almost),
            Verdict::Wait
        );
        assert_eq!(
            rollout.look(&newest, Some(&acked(1)), None, now + CANARY_WAIT),
            Verdict::Release
        );
    }

    #[test]
    fn a_change_that_ends_two_nodes_ends_no_third() {
        let now = Instant::now();
        let mut rollout = begun(now);
        let newest = Point::test(7);
        assert_eq!(rollout.look(&newest, None, Some(id("b")), now), Verdict::Wait);
        assert_eq!(rollout.canary(), Some(&id("b")));
        assert_eq!(rollout.look(&newest, None, Some(id("c")), now), Verdict::Stop);
    }

    #[test]
    fn one_that_went_away_alone_holds_up_nobody_for_long() {
        let now = Instant::now();
        let mut rollout = begun(now);
        let newest = Point::test(7);
        assert_eq!(rollout.look(&newest, None, None, now), Verdict::Wait);
        assert_eq!(
            rollout.look(&newest, None, None, now + CANARY_WAIT),
            Verdict::Release
        );
    }
}
