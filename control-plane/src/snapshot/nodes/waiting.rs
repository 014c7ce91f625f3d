//! What became of a revision at the nodes, here and at other control planes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{NodeId, Nodes, away};

/// What became of a revision at the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Acks {
    pub(crate) acknowledged: Vec<NodeId>,
    /// Has not answered, has refused, or went away before it answered.
    pub(crate) pending: Vec<NodeId>,
}

impl Nodes {
    /// Waits until every node has acknowledged or refused the revision: those that
    /// are connected now, even if they go away meanwhile, and those that come.
    pub(crate) async fn wait_acked(&self, revision: u64, timeout: Duration) -> Acks {
        let deadline = Instant::now() + timeout;
        let mut changed = self.changes();
        let mut expected = BTreeSet::new();
        loop {
            changed.borrow_and_update();
            let (acks, is_settled) = self.judge(&mut expected, revision);
            if is_settled || timeout_at(deadline, changed.changed()).await.is_err() {
                return acks;
            }
        }
    }

    /// The newest revision that each node has acknowledged with nothing held back, wherever
    /// it is connected.
    pub(crate) fn acked(&self) -> Vec<u64> {
        let (nodes, elsewhere) = (self.lock(), self.elsewhere());
        let connected = nodes.iter().filter(|(_, node)| node.link.is_some());
        let here = connected.map(|(id, node)| (id, node.record.progress.complete_to));
        let there = elsewhere
            .iter()
            .flat_map(|(id, places)| places.iter().map(move |away| (id, away.acked)));
        let mut newest: BTreeMap<&NodeId, Option<u64>> = BTreeMap::new();
        for (id, acked) in here.chain(there) {
            let known = newest.entry(id).or_default();
            *known = (*known).max(acked);
        }
        newest.into_values().flatten().collect()
    }

    pub(super) fn judge(&self, expected: &mut BTreeSet<NodeId>, revision: u64) -> (Acks, bool) {
        let nodes = self.lock();
        // Who serves nothing, and is told nothing, has nothing to lose by it.
        let connected = nodes
            .iter()
            .filter(|(_, node)| node.link.is_some() && !node.record.holds_nothing_for_good());
        let elsewhere = self.elsewhere();
        expected.extend(connected.map(|(id, _)| id).chain(elsewhere.keys()).cloned());
        let mut acks = Acks::default();
        let mut is_settled = true;
        for id in expected.iter() {
            let node = nodes.get(id).filter(|node| node.link.is_some());
            let progress = node.map(|node| &node.record.progress);
            if progress.is_some_and(|progress| progress.has_acked(revision))
                || away::has_acked(&elsewhere, id, revision)
            {
                acks.acknowledged.push(id.clone());
            } else {
                acks.pending.push(id.clone());
                is_settled &= node.is_some_and(|node| !node.record.facts.is_compatible())
                    || progress.is_some_and(|progress| progress.has_refused(revision))
                    || away::has_refused(&elsewhere, id, revision);
            }
        }
        (acks, is_settled)
    }
}
