//! Nodes at other control planes of the same store, as far as it matters here.

use std::collections::BTreeMap;

use super::NodeId;

/// What is known of a node at another control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Away {
    pub(crate) acked: Option<u64>,
    pub(crate) refused: Option<u64>,
    pub(crate) is_live: bool,
}

/// By node; one that has just moved may be at two control planes.
pub(crate) type Elsewhere = BTreeMap<NodeId, Vec<Away>>;

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
