//! What all streams share: what is published, and which node gets it first.
//!
//! The hub writes, streams read when they have room for more. Nothing queues here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bridge_proto::fleet::v1 as fleet;
use tokio::sync::watch;
use tokio::time::Instant;

use super::index::{Key, Reach, Track};
use super::ledger::{Edit, Ledger, Target};
use super::nodes::{NodeId, Nodes};
use super::point::Point;
use super::rollout::{Rollout, Verdict};
use super::whole::Whole;
use crate::store::StoreVersion;

/// Clones share it.
#[derive(Clone)]
pub(crate) struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Told after every change of `state`.
    changed: watch::Sender<()>,
}

struct State {
    ledger: Ledger,
    rollout: Rollout,
}

impl State {
    fn track_of(&self, node: &NodeId) -> Track {
        if self.rollout.canary() == Some(node) {
            Track::Newest
        } else {
            Track::Released
        }
    }
}

impl Feed {
    pub(crate) fn new(ledger: Ledger) -> Self {
        let state = Mutex::new(State {
            ledger,
            rollout: Rollout::default(),
        });
        let changed = watch::Sender::new(());
        Self {
            shared: Arc::new(Shared { state, changed }),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    // === for streams ===

    /// What a node should hold. Who holds the newest version already keeps it, also
    /// while the others do not get it.
    pub(crate) fn target(&self, node: &NodeId, held: Option<&Point>) -> (Track, Target) {
        let state = self.lock();
        let newest = state.ledger.target(Track::Newest);
        let is_ahead = held.is_some_and(|held| *held == newest.point);
        let track = if is_ahead {
            Track::Newest
        } else {
            state.track_of(node)
        };
        (track, state.ledger.target(track))
    }

    pub(crate) fn whole(&self, track: Track) -> (Target, Arc<Whole>) {
        let mut state = self.lock();
        (state.ledger.target(track), state.ledger.whole(track))
    }

    pub(crate) fn delta(&self, held: &Point, track: Track) -> Option<(Target, fleet::Delta)> {
        let state = self.lock();
        let delta = state.ledger.delta(held, track)?;
        Some((state.ledger.target(track), delta))
    }

    /// Whether changes since a revision are known, once they were read.
    pub(crate) fn reaches(&self, revision: u64) -> bool {
        self.lock().ledger.reaches(revision)
    }

    pub(crate) fn reach_back(&self, revision: u64, keys: impl IntoIterator<Item = Key>) {
        self.lock().ledger.reach_back(revision, keys);
    }

    // === for the hub ===

    /// Publishes changes. Risky ones begin a roll-out, or join the one under way.
    pub(crate) fn publish(
        &self,
        version: StoreVersion,
        mut edits: Vec<Edit>,
        is_complete: bool,
        nodes: &Nodes,
        now: Instant,
    ) {
        let mut state = self.lock();
        let State { ledger, rollout } = &mut *state;
        let is_risky = edits.iter().any(|edit| edit.reach == Reach::OneFirst);
        if !is_risky && rollout.canary().is_none() {
            // Nothing is under way that they could overtake.
            edits.iter_mut().for_each(|edit| edit.reach = Reach::Everybody);
        }
        ledger.advance(version, edits, is_complete);
        if !ledger.holds_back() {
            *rollout = Rollout::Settled;
        } else if is_risky {
            let first = nodes.canary(&ledger.target(Track::Released).point, None);
            if rollout.begin(first, now) == Verdict::Release {
                ledger.release();
            }
        }
        drop(state);
        self.shared.changed.send_replace(());
    }

    /// Starts anew from the whole store.
    pub(crate) fn replace(&self, ledger: Ledger) {
        *self.lock() = State {
            ledger,
            rollout: Rollout::default(),
        };
        self.shared.changed.send_replace(());
    }

    /// Looks at what the first node has answered.
    pub(crate) fn look(&self, nodes: &Nodes, now: Instant) {
        let mut state = self.lock();
        let State { ledger, rollout } = &mut *state;
        let Some(canary) = rollout.canary().cloned() else {
            return;
        };
        let newest = ledger.target(Track::Newest).point;
        let answer = nodes.answer(&canary);
        let next = match &answer {
            Some(_) => None,
            None => nodes.canary(&ledger.target(Track::Released).point, Some(&canary)),
        };
        let before = rollout.clone();
        match rollout.look(&newest, answer.as_ref(), next, now) {
            Verdict::Release => ledger.release(),
            Verdict::Stop => {
                ledger.overtake();
                tracing::error!(
                    node.id = %canary, snapshot.version = newest.revision(),
                    "a change was refused and goes to no other node"
                );
            }
            Verdict::Wait if *rollout == before => return,
            Verdict::Wait => {}
        }
        drop(state);
        self.shared.changed.send_replace(());
    }

    pub(crate) fn rollout(&self) -> Rollout {
        self.lock().rollout.clone()
    }

    /// What everybody should hold in the end.
    pub(crate) fn newest(&self) -> Point {
        self.lock().ledger.target(Track::Newest).point
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
