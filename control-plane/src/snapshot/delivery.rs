//! What one stream owes its node: at most one snapshot or delta is on its way, and the
//! newest wins, so that a slow node costs constant memory.
//!
//! A pure state machine; the stream asks it what to send and tells it the answers.

use std::sync::Arc;

use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::watch_response::Message as Down;

use super::ledger::Target;
use super::point::Point;
use super::whole::Whole;

#[derive(Debug)]
enum State {
    /// Everything that was sent is answered.
    Idle,
    /// Waits for its turn among the full sends.
    Waiting,
    Sending {
        whole: Arc<Whole>,
        position: usize,
        target: Target,
    },
    Changing {
        delta: Box<fleet::Delta>,
        target: Target,
    },
    Unanswered {
        target: Target,
    },
}

/// What a report of a node says of what was sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// Nothing new.
    Known,
    /// It holds what was sent: its answer was lost.
    Acked(Target),
    /// It holds something else than it has acknowledged.
    Diverged,
}

#[derive(Debug)]
pub(crate) struct Delivery {
    state: State,
    /// What the node acknowledged last.
    held: Option<Point>,
    /// What it refused last.
    refused: Option<Point>,
    last_sent: Option<fleet::StoreVersion>,
}

impl Delivery {
    /// For a node that says it holds `held`, a version of ours.
    pub(crate) fn new(held: Option<Point>) -> Self {
        Self {
            state: State::Idle,
            held,
            refused: None,
            last_sent: None,
        }
    }

    /// What changes can lead on from.
    pub(crate) fn held(&self) -> Option<&Point> {
        self.held.as_ref()
    }

    pub(crate) fn last_sent(&self) -> Option<&fleet::StoreVersion> {
        self.last_sent.as_ref()
    }

    /// Whether the node should get this now. Never what it has refused: it would refuse
    /// it again.
    pub(crate) fn wants(&self, target: &Point) -> bool {
        let is_answered = self.held.as_ref() == Some(target) || self.refused.as_ref() == Some(target);
        matches!(self.state, State::Idle) && !is_answered
    }

    pub(crate) fn wait(&mut self) {
        self.state = State::Waiting;
    }

    pub(crate) fn start(&mut self, whole: Arc<Whole>, target: Target) {
        self.state = State::Sending {
            whole,
            position: 0,
            target,
        };
    }

    pub(crate) fn change(&mut self, delta: fleet::Delta, target: Target) {
        self.state = State::Changing {
            delta: Box::new(delta),
            target,
        };
    }

    pub(crate) fn is_sending(&self) -> bool {
        matches!(self.state, State::Sending { .. } | State::Changing { .. })
    }

    /// The next message of what is on its way.
    pub(crate) fn next(&mut self) -> Option<Down> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Sending {
                whole,
                position,
                target,
            } => {
                let message = whole.message(position);
                if whole.message(position + 1).is_some() {
                    let position = position + 1;
                    self.state = State::Sending {
                        whole,
                        position,
                        target,
                    };
                } else {
                    self.sent(target);
                }
                message
            }
            State::Changing { delta, target } => {
                self.sent(target);
                Some(Down::Delta(*delta))
            }
            state @ (State::Idle | State::Waiting | State::Unanswered { .. }) => {
                self.state = state;
                None
            }
        }
    }

    fn sent(&mut self, target: Target) {
        self.last_sent = Some(target.point.version());
        self.state = State::Unanswered { target };
    }

    /// What is acknowledged, if the answer is to what was sent; another one is ignored.
    pub(crate) fn acked(&mut self, version: &fleet::StoreVersion) -> Option<Target> {
        match &self.state {
            State::Unanswered { target } if target.point.version() == *version => {
                let target = *target;
                self.state = State::Idle;
                self.held = Some(target.point);
                Some(target)
            }
            State::Idle
            | State::Waiting
            | State::Sending { .. }
            | State::Changing { .. }
            | State::Unanswered { .. } => None,
        }
    }

    /// What is refused, if anything was on its way. One is at most: whatever version a
    /// node names that could not read what came, it means this one. The rest of it is
    /// not sent.
    pub(crate) fn refused(&mut self) -> Option<Point> {
        let point = match &self.state {
            State::Idle | State::Waiting => return None,
            State::Sending { target, .. } | State::Changing { target, .. } | State::Unanswered { target } => {
                target.point
            }
        };
        self.state = State::Idle;
        self.refused = Some(point);
        Some(point)
    }

    /// The node lost track and asks for the whole. A snapshot that is on its way is that.
    pub(crate) fn resync(&mut self) {
        match &self.state {
            State::Waiting | State::Sending { .. } => {}
            State::Idle | State::Changing { .. } | State::Unanswered { .. } => self.state = State::Idle,
        }
        self.held = None;
    }

    /// What the node says by the way that it holds.
    pub(crate) fn reported(&mut self, point: &Point) -> Report {
        match &self.state {
            State::Unanswered { target } if target.point == *point => {
                let target = *target;
                self.state = State::Idle;
                self.held = Some(*point);
                Report::Acked(target)
            }
            State::Idle if self.held.is_some_and(|held| held != *point) => Report::Diverged,
            State::Idle
            | State::Waiting
            | State::Sending { .. }
            | State::Changing { .. }
            | State::Unanswered { .. } => Report::Known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(revision: u64) -> Target {
        Target {
            point: Point::test(revision),
            complete_to: revision,
        }
    }

    fn point(revision: u64) -> Point {
        Point::test(revision)
    }

    fn version(revision: u64) -> fleet::StoreVersion {
        point(revision).version()
    }

    fn whole(revision: u64) -> Arc<Whole> {
        Arc::new(Whole::new(point(revision), true, [].into_iter()))
    }

    fn sent(delivery: &mut Delivery, revision: u64) {
        delivery.wait();
        delivery.start(whole(revision), target(revision));
        while delivery.is_sending() {
            assert!(delivery.next().is_some());
        }
    }

    #[test]
    fn one_at_a_time() {
        let mut delivery = Delivery::new(None);
        assert!(delivery.wants(&point(1)));
        sent(&mut delivery, 1);
        assert!(!delivery.wants(&point(2)), "the first is not answered");
        assert_eq!(delivery.acked(&version(1)), Some(target(1)));
        assert!(delivery.wants(&point(2)) && !delivery.wants(&point(1)));
    }

    #[test]
    fn a_delta_is_one_message() {
        let mut delivery = Delivery::new(Some(point(1)));
        delivery.change(fleet::Delta::default(), target(2));
        assert!(delivery.is_sending() && delivery.last_sent().is_none());
        assert!(matches!(delivery.next(), Some(Down::Delta(_))));
        assert!(!delivery.is_sending() && delivery.last_sent() == Some(&version(2)));
        assert_eq!(delivery.acked(&version(2)), Some(target(2)));
        assert_eq!(delivery.held(), Some(&point(2)));
    }

    #[test]
    fn a_node_that_holds_the_newest_gets_nothing() {
        let delivery = Delivery::new(Some(point(3)));
        assert!(!delivery.wants(&point(3)) && delivery.wants(&point(4)));
        let other = Point {
            store: point(3).store,
            ..point(4)
        };
        assert!(
            delivery.wants(&other),
            "the same version without what was held back"
        );
    }

    #[test]
    fn an_answer_to_another_version_counts_for_nothing() {
        let mut delivery = Delivery::new(None);
        assert_eq!(delivery.acked(&version(1)), None);
        sent(&mut delivery, 2);
        assert_eq!(delivery.acked(&version(1)), None);
        assert_eq!(delivery.acked(&version(2)), Some(target(2)));
    }

    #[test]
    fn a_refused_version_is_not_sent_again_but_the_next_is() {
        let mut delivery = Delivery::new(Some(point(0)));
        sent(&mut delivery, 1);
        assert_eq!(delivery.refused(), Some(point(1)));
        assert_eq!(delivery.refused(), None, "nothing is on its way");
        assert_eq!(delivery.held(), Some(&point(0)), "it serves on with what it has");
        delivery.resync();
        assert!(!delivery.wants(&point(1)) && delivery.wants(&point(2)));
    }

    #[test]
    fn a_refusal_ends_what_is_still_being_sent() {
        let mut delivery = Delivery::new(None);
        delivery.wait();
        delivery.start(whole(1), target(1));
        assert!(delivery.next().is_some() && delivery.is_sending());
        assert_eq!(delivery.refused(), Some(point(1)));
        assert!(!delivery.is_sending() && delivery.next().is_none());
        assert!(delivery.wants(&point(2)) && !delivery.wants(&point(1)));
    }

    #[test]
    fn a_resync_sends_the_whole_again() {
        let mut delivery = Delivery::new(Some(point(1)));
        delivery.resync();
        assert!(delivery.wants(&point(1)) && delivery.held().is_none());
        sent(&mut delivery, 1);
        delivery.resync();
        assert!(delivery.wants(&point(1)));
    }

    #[test]
    fn a_report_stands_for_an_answer_that_was_lost_and_shows_what_differs() {
        let mut delivery = Delivery::new(Some(point(1)));
        assert_eq!(delivery.reported(&point(1)), Report::Known);
        assert_eq!(delivery.reported(&point(2)), Report::Diverged);
        sent(&mut delivery, 2);
        assert_eq!(delivery.reported(&point(1)), Report::Known, "it has not come yet");
        assert_eq!(delivery.reported(&point(2)), Report::Acked(target(2)));
        assert!(!delivery.wants(&point(2)));
    }
}
