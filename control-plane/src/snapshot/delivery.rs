//! What one stream owes its node: at most one snapshot is on its way, and the newest
//! wins, so that a slow node costs constant memory.
//!
//! A pure state machine; the stream asks it what to send and tells it the answers.

use std::sync::Arc;

use bridge_proto::fleet::v1 as fleet;

use super::index::Published;

#[derive(Debug)]
enum State {
    /// Everything that was sent is answered.
    Idle,
    /// Waits for its turn among the full sends.
    Waiting,
    Sending {
        snapshot: Arc<Published>,
        position: usize,
    },
    Unanswered {
        version: fleet::StoreVersion,
    },
}

/// What a node answered last, and for which version.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Nothing,
    Held(fleet::StoreVersion),
    Refused(fleet::StoreVersion),
}

#[derive(Debug)]
pub(crate) struct Delivery {
    state: State,
    answer: Answer,
}

impl Delivery {
    /// For a node that says it holds `held`; the caller has compared the hash.
    pub(crate) fn new(held: Option<fleet::StoreVersion>) -> Self {
        Self {
            state: State::Idle,
            answer: held.map_or(Answer::Nothing, Answer::Held),
        }
    }

    /// Whether the node should get this version now. Never a version that it has
    /// refused: it would refuse it again.
    pub(crate) fn wants(&self, newest: &fleet::StoreVersion) -> bool {
        let is_answered = match &self.answer {
            Answer::Nothing => false,
            Answer::Held(version) | Answer::Refused(version) => version == newest,
        };
        matches!(self.state, State::Idle) && !is_answered
    }

    pub(crate) fn wait(&mut self) {
        self.state = State::Waiting;
    }

    pub(crate) fn start(&mut self, snapshot: Arc<Published>) {
        self.state = State::Sending {
            snapshot,
            position: 0,
        };
    }

    pub(crate) fn is_sending(&self) -> bool {
        matches!(self.state, State::Sending { .. })
    }

    /// The next message of the snapshot on its way.
    pub(crate) fn next(&mut self) -> Option<fleet::watch_response::Message> {
        let State::Sending { snapshot, position } = &mut self.state else {
            return None;
        };
        let message = snapshot.message(*position);
        *position += 1;
        if snapshot.message(*position).is_none() {
            self.state = State::Unanswered {
                version: snapshot.version.clone(),
            };
        }
        message
    }

    /// Whether the answer is to what was sent; another one is ignored.
    pub(crate) fn acked(&mut self, version: &fleet::StoreVersion) -> bool {
        let is_expected = matches!(&self.state, State::Unanswered { version: sent } if sent == version);
        if is_expected {
            self.state = State::Idle;
            self.answer = Answer::Held(version.clone());
        }
        is_expected
    }

    /// The version that is refused, if any was on its way. One is at most: whatever
    /// version a node names that could not read what came, it means this one. The rest
    /// of it is not sent.
    pub(crate) fn refused(&mut self) -> Option<fleet::StoreVersion> {
        let version = match &self.state {
            State::Idle | State::Waiting => return None,
            State::Sending { snapshot, .. } => snapshot.version.clone(),
            State::Unanswered { version } => version.clone(),
        };
        self.state = State::Idle;
        self.answer = Answer::Refused(version.clone());
        Some(version)
    }

    /// The node lost track and asks for the whole. What is on its way is the whole.
    pub(crate) fn resync(&mut self) {
        match (&self.state, &self.answer) {
            (State::Waiting | State::Sending { .. }, _) | (State::Idle, Answer::Refused(_)) => {}
            (State::Idle, Answer::Nothing | Answer::Held(_)) => self.answer = Answer::Nothing,
            (State::Unanswered { .. }, _) => {
                self.state = State::Idle;
                self.answer = Answer::Nothing;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::index::Index;

    fn version(revision: u64) -> fleet::StoreVersion {
        fleet::StoreVersion {
            cluster_id: vec![1; 16],
            epoch: 0,
            revision,
        }
    }

    fn snapshot(revision: u64) -> Arc<Published> {
        Arc::new(Index::default().publish(version(revision), true))
    }

    fn sent(delivery: &mut Delivery, revision: u64) {
        delivery.wait();
        delivery.start(snapshot(revision));
        while delivery.is_sending() {
            assert!(delivery.next().is_some());
        }
    }

    #[test]
    fn one_snapshot_at_a_time() {
        let mut delivery = Delivery::new(None);
        assert!(delivery.wants(&version(1)));
        sent(&mut delivery, 1);
        assert!(!delivery.wants(&version(2)), "the first is not answered");
        assert!(delivery.acked(&version(1)));
        assert!(delivery.wants(&version(2)) && !delivery.wants(&version(1)));
    }

    #[test]
    fn a_node_that_holds_the_newest_gets_nothing() {
        let delivery = Delivery::new(Some(version(3)));
        assert!(!delivery.wants(&version(3)));
        assert!(delivery.wants(&version(4)));
    }

    #[test]
    fn an_answer_to_another_version_counts_for_nothing() {
        let mut delivery = Delivery::new(None);
        assert!(!delivery.acked(&version(1)));
        sent(&mut delivery, 2);
        assert!(!delivery.acked(&version(1)));
        assert!(delivery.acked(&version(2)));
    }

    #[test]
    fn a_refused_version_is_not_sent_again_but_the_next_is() {
        let mut delivery = Delivery::new(None);
        sent(&mut delivery, 1);
        assert_eq!(delivery.refused(), Some(version(1)));
        assert_eq!(delivery.refused(), None, "nothing is on its way");
        delivery.resync();
        assert!(!delivery.wants(&version(1)));
        assert!(delivery.wants(&version(2)));
    }

    #[test]
    fn a_refusal_ends_what_is_still_being_sent() {
        let mut delivery = Delivery::new(None);
        delivery.wait();
        delivery.start(snapshot(1));
        assert!(delivery.next().is_some() && delivery.is_sending());
        assert_eq!(delivery.refused(), Some(version(1)));
        assert!(!delivery.is_sending() && delivery.next().is_none());
        assert!(delivery.wants(&version(2)) && !delivery.wants(&version(1)));
    }

    #[test]
    fn a_resync_sends_the_whole_again() {
        let mut delivery = Delivery::new(Some(version(1)));
        delivery.resync();
        assert!(delivery.wants(&version(1)));
        sent(&mut delivery, 1);
        delivery.resync();
        assert!(delivery.wants(&version(1)));
    }
}
