//! Who belongs to the fleet: nodes that have a certificate, and those that were revoked.
//!
//! What the store says of them is at hand in memory and follows it, so that a node is let
//! in while the database is away. Who is refused by what is at hand is looked up once more:
//! it may have enrolled elsewhere a moment ago. Streams of those who are not let in any
//! longer are ended, at whichever control plane it was decided.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::domain::node::{self, FleetNode, NodeId, Refusal, Shown};
use crate::snapshot::nodes::{End, Identity, Nodes};
use crate::store::{self, Store};

/// How long changes wait for each other before the store is asked.
const GATHER: Duration = Duration::from_millis(20);
/// How often certificates of those who are connected are looked at, and the store if it
/// could not be read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a node is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    #[error("{}", NodeId::rule())]
    BadName,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the certificate of this data plane has expired; give it a new join token")]
    Expired,
    #[error("this cannot be decided: {0}")]
    Undecided(#[from] store::Error),
}

/// Clones share it.
#[derive(Clone)]
pub(crate) struct Roster {
    store: Store,
    known: Arc<RwLock<Known>>,
    /// How often the store was looked at.
    looks: Arc<AtomicU64>,
}

/// What is at hand. Looks at the store overtake each other, and what an earlier one has seen
/// must not hide what a later one has: that a node was revoked.
#[derive(Debug, Default)]
struct Known {
    nodes: BTreeMap<NodeId, FleetNode>,
    /// The latest look at all of them.
    look: u64,
}

impl Known {
    /// Whether something has changed.
    fn replace(&mut self, nodes: BTreeMap<NodeId, FleetNode>, look: u64) -> bool {
        if look < self.look {
            return false;
        }
        self.look = look;
        let is_new = self.nodes != nodes;
        self.nodes = nodes;
        is_new
    }

    fn replace_one(&mut self, id: &NodeId, node: Option<FleetNode>, look: u64) {
        if look < self.look {
            return;
        }
        match node {
            Some(node) => self.nodes.insert(id.clone(), node),
            None => self.nodes.remove(id),
        };
    }
}

impl Roster {
    pub(crate) async fn open(store: Store) -> Result<Self, store::Error> {
        let roster = Self {
            store,
            known: Arc::default(),
            looks: Arc::default(),
        };
        roster.read().await?;
        Ok(roster)
    }

    /// The name of a node, as far as it has proved it. With the shared token it is what it
    /// says, unless the name is somebody else's.
    pub(crate) async fn name(&self, identity: &Identity, says: &str) -> Result<NodeId, Denied> {
        let id = match identity {
            Identity::Certificate(certified) => certified.node.clone(),
            Identity::Token => NodeId::parse(says).ok_or(Denied::BadName)?,
        };
        self.admit(&id, identity).await?;
        Ok(id)
    }

    /// Whether the node is let in.
    pub(crate) async fn admit(&self, id: &NodeId, identity: &Identity) -> Result<(), Denied> {
        match self.judge(id, identity, SystemTime::now()) {
            Err(Denied::Refused(_)) => {}
            settled => return settled,
        }
        let look = self.looks.fetch_add(1, Ordering::SeqCst);
        let stored = self.store.fleet_node(id).await?;
        let stored = stored.map(|stored| stored.value);
        node::judge(stored.as_ref(), shown(identity))?;
        self.write().replace_one(id, stored, look);
        Ok(())
    }

    /// The same, by what is at hand.
    pub(crate) fn judge(&self, id: &NodeId, identity: &Identity, now: SystemTime) -> Result<(), Denied> {
        match identity {
            Identity::Certificate(certified) if certified.expires_at <= now => return Err(Denied::Expired),
            Identity::Certificate(_) | Identity::Token => {}
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        Ok(node::judge(known.nodes.get(id), shown(identity))?)
    }

    /// By name.
    pub(crate) fn list(&self) -> Vec<FleetNode> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.nodes.values().cloned().collect()
    }

    /// Takes over what the store says, and ends streams that it does not allow.
    pub(crate) async fn follow(&self, nodes: &Nodes) -> Result<(), store::Error> {
        if self.read().await? {
            self.end_refused(nodes);
            nodes.tell_changed();
        }
        Ok(())
    }

    /// Follows the store until the shutdown.
    pub(crate) async fn run(self, nodes: Nodes, stopping: CancellationToken) {
        let mut revisions = self.store.revisions();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_behind = true;
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                changed = revisions.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    sleep(GATHER).await;
                    revisions.mark_unchanged();
                    is_behind = true;
                }
                _ = looks.tick() => self.end_refused(&nodes),
            }
            if is_behind {
                match self.follow(&nodes).await {
                    Ok(()) => is_behind = false,
                    Err(error) => tracing::warn!(%error, "who belongs to the fleet cannot be read"),
                }
            }
        }
    }

    /// Whether something has changed.
    async fn read(&self) -> Result<bool, store::Error> {
        let look = self.looks.fetch_add(1, Ordering::SeqCst);
        let stored = self.store.fleet_nodes().await?;
        let nodes = stored
            .into_iter()
            .map(|stored| (stored.value.id.clone(), stored.value));
        Ok(self.write().replace(nodes.collect(), look))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends streams of those who are not let in any longer.
    pub(crate) fn end_refused(&self, nodes: &Nodes) {
        let now = SystemTime::now();
        nodes.end_where(|id, identity| match self.judge(id, identity, now) {
            Ok(()) | Err(Denied::BadName | Denied::Undecided(_)) => None,
            Err(Denied::Refused(refusal)) => Some(End::Refused(refusal)),
            Err(Denied::Expired) => Some(End::Expired),
        });
    }
}

fn shown(identity: &Identity) -> Shown {
    match identity {
        Identity::Token => Shown::Token,
        Identity::Certificate(certified) => Shown::Certificate(certified.enrolment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_earlier_hides_nothing_that_was_seen_later() {
        let id = NodeId::parse("a").unwrap();
        let node = |revoked_at| FleetNode {
            id: id.clone(),
            certificate: None,
            revoked_at,
        };
        let (before, after) = (node(None), node(Some(SystemTime::UNIX_EPOCH)));
        let all = |node: &FleetNode| BTreeMap::from([(id.clone(), node.clone())]);
        let mut known = Known::default();
        assert!(known.replace(all(&after), 2));
        assert!(!known.replace(all(&before), 1), "it was overtaken");
        known.replace_one(&id, Some(before.clone()), 1);
        known.replace_one(&id, None, 1);
        assert_eq!(known.nodes, all(&after));
        known.replace_one(&id, Some(before.clone()), 3);
        assert_eq!(known.nodes, all(&before), "it has enrolled anew");
        assert!(!known.replace(all(&before), 4) && known.replace(all(&after), 5));
    }
}
