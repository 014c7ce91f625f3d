//! Which data planes are connected, and what each has acknowledged or refused.
//!
//! A node is here exactly as long as its stream: the stream holds a [`Membership`]
//! and its drop takes the node out. A node that connects again replaces its older
//! stream, so that a half-dead connection never answers for a live one.

mod away;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge_proto::fleet::v1 as fleet;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

pub(crate) use away::{Away, Elsewhere};

use crate::store::NodeSeen;

/// Longest name of a node, in characters.
const NODE_ID_CHARS_MAX: usize = 128;
/// Questions that may wait for one node.
const ASK_QUEUE: usize = 4;

/// The name under which a data plane subscribed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(String);

impl NodeId {
    /// One to 128 printable ASCII characters.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_printable = text.chars().all(|char| char.is_ascii_graphic() || char == ' ');
        (!text.trim().is_empty() && text.len() <= NODE_ID_CHARS_MAX && is_printable)
            .then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What became of a revision at the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Acks {
    pub(crate) acknowledged: Vec<NodeId>,
    /// Has not answered, has refused, or went away before it answered.
    pub(crate) pending: Vec<NodeId>,
}

/// The registry; clones share it.
#[derive(Clone)]
pub(crate) struct Nodes {
    shared: Arc<Shared>,
}

struct Shared {
    nodes: Mutex<BTreeMap<NodeId, Node>>,
    /// Locked after `nodes`, where both are.
    elsewhere: Mutex<Elsewhere>,
    /// Told after every change of `nodes`.
    changed: watch::Sender<()>,
    connected: Gauge,
}

struct Node {
    /// Ends the stream of this node; also tells one connection from the next.
    replaced: CancellationToken,
    asks: mpsc::Sender<Ask>,
    capabilities: BTreeSet<i32>,
    is_draining: bool,
    acked: Option<u64>,
    refused: Option<u64>,
}

/// A connected node's place in the registry.
pub(crate) struct Membership {
    nodes: Nodes,
    id: NodeId,
    pub(crate) replaced: CancellationToken,
    pub(crate) asks: mpsc::Receiver<Ask>,
}

/// What a node is asked to find out.
#[derive(Debug)]
pub(crate) enum Ask {
    Probe(fleet::Probe),
    Explain(fleet::Explain),
}

/// What a node must be to be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) capability: fleet::Capability,
    /// It must hold this revision.
    pub(crate) revision: u64,
    /// `None`: any.
    pub(crate) node: Option<&'a str>,
}

/// Why no node can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lacking {
    /// None is connected that could.
    Node,
    /// Some are, but none holds the revision yet.
    Revision,
}

// === impl Nodes ===

impl Nodes {
    pub(crate) fn new(connected: Gauge) -> Self {
        let shared = Shared {
            nodes: Mutex::default(),
            elsewhere: Mutex::default(),
            changed: watch::Sender::new(()),
            connected,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes a node in. `acked`: the revision that it already holds.
    pub(crate) fn join(&self, id: NodeId, capabilities: &[i32], acked: Option<u64>) -> Membership {
        let (sender, asks) = mpsc::channel(ASK_QUEUE);
        let replaced = CancellationToken::new();
        let node = Node {
            replaced: replaced.clone(),
            asks: sender,
            capabilities: capabilities.iter().copied().collect(),
            is_draining: false,
            acked,
            refused: None,
        };
        if let Some(older) = self.lock().insert(id.clone(), node) {
            older.replaced.cancel();
        }
        self.tell();
        Membership {
            nodes: self.clone(),
            id,
            replaced,
            asks,
        }
    }

    /// Told after every change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// What other control planes have to know of the nodes here.
    pub(crate) fn seen(&self) -> Vec<NodeSeen> {
        let nodes = self.lock();
        let seen = nodes.iter().map(|(id, node)| NodeSeen {
            node: id.to_string(),
            acked: node.acked,
            refused: node.refused,
            is_live: !node.is_draining,
        });
        seen.collect()
    }

    pub(crate) fn set_elsewhere(&self, elsewhere: Elsewhere) {
        let before = std::mem::replace(&mut *self.elsewhere(), elsewhere.clone());
        if before != elsewhere {
            self.tell();
        }
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

    /// Waits until every node has acknowledged or refused the revision: those that
    /// are connected now, even if they go away meanwhile, and those that come.
    pub(crate) async fn wait_acked(&self, revision: u64, timeout: Duration) -> Acks {
        let deadline = Instant::now() + timeout;
        let mut changed = self.shared.changed.subscribe();
        let mut expected = BTreeSet::new();
        loop {
            changed.borrow_and_update();
            let (acks, is_settled) = self.judge(&mut expected, revision);
            if is_settled || timeout_at(deadline, changed.changed()).await.is_err() {
                return acks;
            }
        }
    }

    /// The newest revision that each node has acknowledged, wherever it is connected.
    pub(crate) fn acked(&self) -> Vec<u64> {
        let (nodes, elsewhere) = (self.lock(), self.elsewhere());
        let here = nodes.iter().map(|(id, node)| (id, node.acked));
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

    /// Waits for a node that can be asked and holds the revision.
    pub(crate) async fn wait_able(
        &self,
        wanted: Wanted<'_>,
        deadline: Instant,
    ) -> Result<(NodeId, mpsc::Sender<Ask>), Lacking> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.borrow_and_update();
            match self.able(wanted) {
                Err(Lacking::Revision) => {}
                settled => return settled,
            }
            if timeout_at(deadline, changed.changed()).await.is_err() {
                return Err(Lacking::Revision);
            }
        }
    }

    /// A node that can be asked now: of several the one that holds the newest.
    pub(crate) fn able(&self, wanted: Wanted<'_>) -> Result<(NodeId, mpsc::Sender<Ask>), Lacking> {
        let Wanted {
            capability,
            revision,
            node: named,
        } = wanted;
        let nodes = self.lock();
        let able = nodes.iter().filter(|(id, node)| {
            let is_meant = named.is_none_or(|named| named == id.0);
            is_meant && node.capabilities.contains(&capability.into()) && !node.is_draining
        });
        let newest = able.rev().max_by_key(|(_, node)| node.acked);
        let (id, node) = newest.ok_or(Lacking::Node)?;
        if node.acked < Some(revision) {
            return Err(Lacking::Revision);
        }
        Ok((id.clone(), node.asks.clone()))
    }

    fn judge(&self, expected: &mut BTreeSet<NodeId>, revision: u64) -> (Acks, bool) {
        let nodes = self.lock();
        let elsewhere = self.elsewhere();
        expected.extend(nodes.keys().chain(elsewhere.keys()).cloned());
        let mut acks = Acks::default();
        let mut is_settled = true;
        for id in expected.iter() {
            let node = nodes.get(id);
            if node.is_some_and(|node| node.acked >= Some(revision))
                || away::has_acked(&elsewhere, id, revision)
            {
                acks.acknowledged.push(id.clone());
            } else {
                acks.pending.push(id.clone());
                is_settled &= node.is_some_and(|node| node.refused >= Some(revision))
                    || away::has_refused(&elsewhere, id, revision);
            }
        }
        (acks, is_settled)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Node>> {
        self.shared.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elsewhere(&self) -> MutexGuard<'_, Elsewhere> {
        self.shared
            .elsewhere
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        let connected = self.lock().len();
        self.shared
            .connected
            .set(i64::try_from(connected).unwrap_or(i64::MAX));
        self.shared.changed.send_replace(());
    }
}

// === impl Membership ===

impl Membership {
    pub(crate) fn id(&self) -> &NodeId {
        &self.id
    }

    pub(crate) fn acked(&self, revision: u64) {
        self.update(|node| node.acked = Some(revision));
    }

    pub(crate) fn refused(&self, revision: u64) {
        self.update(|node| node.refused = Some(revision));
    }

    pub(crate) fn set_draining(&self, is_draining: bool) {
        self.update(|node| node.is_draining = is_draining);
    }

    /// A replaced stream has no node any more that it could change.
    fn update(&self, change: impl FnOnce(&mut Node)) {
        {
            let mut nodes = self.nodes.lock();
            if self.replaced.is_cancelled() {
                return;
            }
            if let Some(node) = nodes.get_mut(&self.id) {
                change(node);
            }
        }
        self.nodes.tell();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        {
            let mut nodes = self.nodes.lock();
            if self.replaced.is_cancelled() {
                return;
            }
            nodes.remove(&self.id);
        }
        self.nodes.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    const PROBE: [i32; 1] = [fleet::Capability::Probe as i32];

    fn prober(revision: u64) -> Wanted<'static> {
        Wanted {
            capability: fleet::Capability::Probe,
            revision,
            node: None,
        }
    }

    fn nodes() -> Nodes {
        Nodes::new(Gauge::default())
    }

    fn id(text: &str) -> NodeId {
        NodeId::parse(text).unwrap()
    }

    #[test]
    fn a_name_is_short_and_printable() {
        assert!(NodeId::parse("node-1.eu (blue)").is_some());
        for refused in ["", "  ", "a\nb", "ä", &"x".repeat(NODE_ID_CHARS_MAX + 1)] {
            assert!(NodeId::parse(refused).is_none(), "{refused:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_last_ack() {
        let nodes = nodes();
        let (a, b) = (nodes.join(id("a"), &[], Some(7)), nodes.join(id("b"), &[], None));
        let waiting = nodes.wait_acked(7, LONG);
        let acking = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            b.acked(9);
        };
        let (acks, ()) = tokio::join!(waiting, acking);
        assert_eq!(
            acks,
            Acks {
                acknowledged: vec![id("a"), id("b")],
                pending: vec![]
            }
        );
        drop(a);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_late_refuses_or_leaves_is_named() {
        let nodes = nodes();
        let (late, refusing) = (
            nodes.join(id("late"), &[], Some(6)),
            nodes.join(id("refusing"), &[], None),
        );
        let leaving = nodes.join(id("leaving"), &[], None);
        refusing.refused(7);
        let (acks, ()) = tokio::join!(nodes.wait_acked(7, Duration::from_secs(5)), async {
            drop(leaving)
        });
        assert_eq!(acks.acknowledged, vec![]);
        assert_eq!(acks.pending, vec![id("late"), id("leaving"), id("refusing")]);
        drop(late);
    }

    #[tokio::test(start_paused = true)]
    async fn without_nodes_there_is_nothing_to_wait_for() {
        let before = Instant::now();
        assert_eq!(nodes().wait_acked(1, LONG).await, Acks::default());
        assert_eq!(Instant::now(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_at_other_control_planes_are_waited_for_too() {
        let nodes = nodes();
        let _here = nodes.join(id("a"), &[], Some(7));
        // It has moved here, and the one that it left does not know yet.
        let _moved = nodes.join(id("b"), &[], Some(7));
        let away = |acked| Away {
            acked,
            refused: None,
            is_live: true,
        };
        let elsewhere =
            |acked| Elsewhere::from([(id("b"), vec![away(Some(3))]), (id("c"), vec![away(acked)])]);
        nodes.set_elsewhere(elsewhere(Some(6)));
        let hearing = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            nodes.set_elsewhere(elsewhere(Some(7)));
        };
        let before = Instant::now();
        let (acks, ()) = tokio::join!(nodes.wait_acked(7, LONG), hearing);
        assert_eq!(acks.acknowledged, vec![id("a"), id("b"), id("c")]);
        assert_eq!(Instant::now() - before, Duration::from_secs(1));
        assert_eq!(nodes.live_elsewhere(), 1, "who is here too is counted here");
        assert_eq!(nodes.shared.connected.get(), 2, "they are not connected here");
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_alone_settle_it() {
        let nodes = nodes();
        let refusing = nodes.join(id("a"), &[], None);
        refusing.refused(7);
        let before = Instant::now();
        assert_eq!(nodes.wait_acked(7, LONG).await.pending, vec![id("a")]);
        assert_eq!(Instant::now(), before);
    }

    #[test]
    fn the_newer_stream_of_a_node_wins() {
        let nodes = nodes();
        let older = nodes.join(id("a"), &[], None);
        let newer = nodes.join(id("a"), &PROBE, None);
        assert!(older.replaced.is_cancelled() && !newer.replaced.is_cancelled());
        older.acked(9);
        drop(older);
        assert_eq!(
            nodes.able(prober(1)).err(),
            Some(Lacking::Revision),
            "the older stream has no say"
        );
        newer.acked(9);
        assert_eq!(nodes.able(prober(9)).unwrap().0, id("a"));
        drop(newer);
        assert_eq!(nodes.able(prober(1)).err(), Some(Lacking::Node));
        assert_eq!(nodes.shared.connected.get(), 0);
    }

    #[test]
    fn a_draining_node_is_not_asked_to_probe() {
        let nodes = nodes();
        let node = nodes.join(id("a"), &PROBE, Some(1));
        assert!(nodes.able(prober(1)).is_ok());
        node.set_draining(true);
        assert_eq!(nodes.able(prober(1)).err(), Some(Lacking::Node));
    }

    #[test]
    fn who_holds_the_newest_is_asked_or_who_is_named() {
        let nodes = nodes();
        let _members =
            [("a", 2), ("b", 3), ("c", 3)].map(|(name, acked)| nodes.join(id(name), &PROBE, Some(acked)));
        let asked = |wanted| nodes.able(wanted).map(|(id, _)| id);
        assert_eq!(asked(prober(0)), Ok(id("b")));
        let named = |node| Wanted {
            node: Some(node),
            ..prober(0)
        };
        assert_eq!(asked(named("a")), Ok(id("a")));
        assert_eq!(asked(named("d")), Err(Lacking::Node));
        let explain = Wanted {
            capability: fleet::Capability::Explain,
            ..prober(0)
        };
        assert_eq!(asked(explain), Err(Lacking::Node));
    }
}
