//! Nodes at other control planes of the same store, as far as those tell: what each has
//! acknowledged, within moments, and how it is, within seconds.

use std::collections::{BTreeMap, BTreeSet};

use bridge_proto::admin::v1 as admin;

use super::{NodeId, Nodes};
use crate::store::ControlPlaneId;

/// What is known of a node at another control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Away {
    pub(crate) at: ControlPlaneId,
    pub(crate) acked: Option<u64>,
    pub(crate) refused: Option<u64>,
    pub(crate) is_live: bool,
}

/// By node; one that has just moved may be at two control planes.
pub(crate) type Elsewhere = BTreeMap<NodeId, Vec<Away>>;

/// The nodes of each of the others, as that one shows them; those that are gone too.
pub(crate) type Shown = BTreeMap<ControlPlaneId, Vec<admin::Node>>;

/// Whether a node has acknowledged a revision at any of its control planes. It did so
/// after the revision was made, so an older stream of it does not matter.
pub(super) fn has_acked(elsewhere: &Elsewhere, id: &NodeId, revision: u64) -> bool {
    let mut places = elsewhere.get(id).into_iter().flatten();
    places.any(|away| away.acked >= Some(revision))
}

pub(super) fn has_refused(elsewhere: &Elsewhere, id: &NodeId, revision: u64) -> bool {
    let mut places = elsewhere.get(id).into_iter().flatten();
    places.any(|away| away.refused >= Some(revision))
}

impl Nodes {
    pub(crate) fn set_elsewhere(&self, elsewhere: Elsewhere) {
        let before = std::mem::replace(&mut *self.elsewhere(), elsewhere.clone());
        if before != elsewhere {
            self.tell();
        }
    }

    pub(crate) fn set_shown(&self, shown: Shown) {
        let before = std::mem::replace(&mut *self.shown_by_others(), shown.clone());
        if before != shown {
            self.tell();
        }
    }

    pub(crate) fn shown(&self) -> Shown {
        self.shown_by_others().clone()
    }

    /// Nodes that take requests, at other control planes only.
    pub(crate) fn live_elsewhere(&self) -> usize {
        let nodes = self.lock();
        let elsewhere = self.elsewhere();
        let live = elsewhere
            .iter()
            .filter(|(id, places)| !nodes.contains_key(id) && places.iter().any(|away| away.is_live));
        live.count()
    }

    /// The other control planes that have nodes.
    pub(crate) fn places(&self) -> BTreeSet<ControlPlaneId> {
        let elsewhere = self.elsewhere();
        elsewhere.values().flatten().map(|away| away.at).collect()
    }

    /// Where a node is connected, if it is at one of the others.
    pub(crate) fn place_of(&self, id: &NodeId) -> Option<ControlPlaneId> {
        let elsewhere = self.elsewhere();
        elsewhere.get(id)?.last().map(|away| away.at)
    }

    /// The nodes at one of the others.
    pub(crate) fn ids_at(&self, place: ControlPlaneId) -> Vec<NodeId> {
        let elsewhere = self.elsewhere();
        let there = elsewhere
            .iter()
            .filter(|(_, places)| places.iter().any(|away| away.at == place));
        there.map(|(id, _)| id.clone()).collect()
    }

    /// The others that show a node, connected or gone.
    pub(crate) fn shown_at(&self, id: &NodeId) -> Vec<ControlPlaneId> {
        let shown = self.shown_by_others();
        let places = shown
            .iter()
            .filter(|(_, nodes)| nodes.iter().any(|node| node.id == id.as_str()));
        places.map(|(place, _)| *place).collect()
    }

    /// Others were told to forget it; until they show their nodes anew, it is left out.
    pub(crate) fn unshow(&self, id: &NodeId) {
        for nodes in self.shown_by_others().values_mut() {
            nodes.retain(|node| node.id != id.as_str());
        }
        self.tell();
    }
}
