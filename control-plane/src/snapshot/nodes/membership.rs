//! A stream's place in the registry, which is its node's as long as the stream lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bridge_proto::fleet::v1 as fleet;
use tokio::sync::mpsc;

use super::{Ask, Ending, Node, NodeId, Nodes, Record, Refused};
use crate::snapshot::ledger::Target;
use crate::snapshot::point::Point;

/// Nodes that are gone and still remembered.
pub(super) const GONE_MAX: usize = 1_000;

/// A connected node's place in the registry.
pub(crate) struct Membership {
    pub(super) nodes: Nodes,
    pub(super) id: NodeId,
    pub(crate) ending: Arc<Ending>,
    /// What the node is asked.
    pub(crate) asks: mpsc::Receiver<Ask>,
}

impl Membership {
    pub(crate) fn id(&self) -> &NodeId {
        &self.id
    }

    pub(crate) fn sent(&self, revision: u64) {
        self.update(|record| record.progress.sent = Some(revision));
    }

    pub(crate) fn acked(&self, target: Target) {
        self.update(|record| record.progress.acknowledge(target));
    }

    pub(crate) fn refused(&self, point: Point, refusals: Vec<Refused>) {
        self.update(|record| record.progress.refused = Some((point, refusals)));
    }

    pub(crate) fn reported(&self, status: fleet::NodeStatus) {
        self.update(|record| record.report(status));
    }

    /// A replaced stream has no node any more that it could change.
    fn update(&self, change: impl FnOnce(&mut Record)) {
        {
            let mut nodes = self.nodes.lock();
            let Some(node) = self.own(&mut nodes) else {
                return;
            };
            change(&mut node.record);
            node.record.last_seen_at = SystemTime::now();
        }
        self.nodes.tell();
    }

    fn own<'a>(&self, nodes: &'a mut BTreeMap<NodeId, Node>) -> Option<&'a mut Node> {
        nodes.get_mut(&self.id).filter(|node| {
            let link = node.link.as_ref();
            link.is_some_and(|link| Arc::ptr_eq(&link.ending, &self.ending))
        })
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        {
            let mut nodes = self.nodes.lock();
            match self.own(&mut nodes) {
                Some(node) => node.link = None,
                None => return,
            }
            forget_oldest(&mut nodes);
        }
        self.nodes.tell();
    }
}

/// Keeps those that are gone within their limit.
fn forget_oldest(nodes: &mut BTreeMap<NodeId, Node>) {
    let gone = || nodes.iter().filter(|(_, node)| node.link.is_none());
    if gone().count() <= GONE_MAX {
        return;
    }
    let oldest = gone().min_by_key(|(_, node)| node.record.last_seen_at);
    if let Some(id) = oldest.map(|(id, _)| id.clone()) {
        nodes.remove(&id);
    }
}
