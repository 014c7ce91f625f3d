//! Which data planes are connected, and what each has acknowledged or refused.
//!
//! A node is here exactly as long as its stream: the stream holds a [`Membership`]
//! and its drop takes the node out. A node that connects again replaces its older
//! stream, so that a half-dead connection never answers for a live one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge_proto::fleet::v1 as fleet;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Longest name of a node, in characters.
const NODE_ID_CHARS_MAX: usize = 128;
/// Probes that may wait for one node.
const PROBE_QUEUE: usize = 4;

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
    /// Told after every change of `nodes`.
    changed: watch::Sender<()>,
    connected: Gauge,
}

struct Node {
    /// Ends the stream of this node; also tells one connection from the next.
    replaced: CancellationToken,
    probes: mpsc::Sender<fleet::Probe>,
    can_probe: bool,
    is_draining: bool,
    acked: Option<u64>,
    refused: Option<u64>,
}

/// A connected node's place in the registry.
pub(crate) struct Membership {
    nodes: Nodes,
    id: NodeId,
    pub(crate) replaced: CancellationToken,
    /// What the node is asked to probe.
    pub(crate) probes: mpsc::Receiver<fleet::Probe>,
}

// === impl Nodes ===

impl Nodes {
    pub(crate) fn new(connected: Gauge) -> Self {
        let shared = Shared {
            nodes: Mutex::default(),
            changed: watch::Sender::new(()),
            connected,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes a node in. `acked`: the revision that it already holds.
    pub(crate) fn join(&self, id: NodeId, can_probe: bool, acked: Option<u64>) -> Membership {
        let (sender, probes) = mpsc::channel(PROBE_QUEUE);
        let replaced = CancellationToken::new();
        let node = Node {
            replaced: replaced.clone(),
            probes: sender,
            can_probe,
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
            probes,
        }
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

    /// Waits for a node that can probe and holds the revision.
    pub(crate) async fn wait_prober(
        &self,
        revision: u64,
        deadline: Instant,
    ) -> Result<(NodeId, mpsc::Sender<fleet::Probe>), NoProber> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.borrow_and_update();
            match self.prober(revision) {
                Err(NoProber::NotYet) => {}
                settled => return settled,
            }
            if timeout_at(deadline, changed.changed()).await.is_err() {
                return Err(NoProber::NotYet);
            }
        }
    }

    /// Whether any node can probe, whatever it holds.
    pub(crate) fn has_prober(&self) -> bool {
        self.prober(0).err() != Some(NoProber::NotConnected)
    }

    fn prober(&self, revision: u64) -> Result<(NodeId, mpsc::Sender<fleet::Probe>), NoProber> {
        let nodes = self.lock();
        let mut able = nodes
            .iter()
            .filter(|(_, node)| node.can_probe && !node.is_draining)
            .peekable();
        if able.peek().is_none() {
            return Err(NoProber::NotConnected);
        }
        able.find(|(_, node)| node.acked >= Some(revision))
            .map(|(id, node)| (id.clone(), node.probes.clone()))
            .ok_or(NoProber::NotYet)
    }

    fn judge(&self, expected: &mut BTreeSet<NodeId>, revision: u64) -> (Acks, bool) {
        let nodes = self.lock();
        expected.extend(nodes.keys().cloned());
        let mut acks = Acks::default();
        let mut is_settled = true;
        for id in expected.iter() {
            let node = nodes.get(id);
            if node.is_some_and(|node| node.acked >= Some(revision)) {
                acks.acknowledged.push(id.clone());
            } else {
                acks.pending.push(id.clone());
                is_settled &= node.is_some_and(|node| node.refused >= Some(revision));
            }
        }
        (acks, is_settled)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Node>> {
        self.shared.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        let connected = self.lock().len();
        self.shared
            .connected
            .set(i64::try_from(connected).unwrap_or(i64::MAX));
        self.shared.changed.send_replace(());
    }
}

/// Why no node can probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoProber {
    NotConnected,
    /// Nodes are connected, but none holds the revision yet.
    NotYet,
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
        let (a, b) = (
            nodes.join(id("a"), false, Some(7)),
            nodes.join(id("b"), false, None),
        );
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
            nodes.join(id("late"), false, Some(6)),
            nodes.join(id("refusing"), false, None),
        );
        let leaving = nodes.join(id("leaving"), false, None);
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
    async fn refusals_alone_settle_it() {
        let nodes = nodes();
        let refusing = nodes.join(id("a"), false, None);
        refusing.refused(7);
        let before = Instant::now();
        assert_eq!(nodes.wait_acked(7, LONG).await.pending, vec![id("a")]);
        assert_eq!(Instant::now(), before);
    }

    #[test]
    fn the_newer_stream_of_a_node_wins() {
        let nodes = nodes();
        let older = nodes.join(id("a"), false, None);
        let newer = nodes.join(id("a"), true, None);
        assert!(older.replaced.is_cancelled() && !newer.replaced.is_cancelled());
        older.acked(9);
        drop(older);
        assert_eq!(
            nodes.prober(0).err(),
            Some(NoProber::NotYet),
            "the older stream has no say"
        );
        newer.acked(9);
        assert_eq!(nodes.prober(9).unwrap().0, id("a"));
        drop(newer);
        assert_eq!(nodes.prober(0).err(), Some(NoProber::NotConnected));
        assert_eq!(nodes.shared.connected.get(), 0);
    }

    #[test]
    fn a_draining_node_is_not_asked_to_probe() {
        let nodes = nodes();
        let node = nodes.join(id("a"), true, Some(1));
        assert!(nodes.prober(1).is_ok());
        node.set_draining(true);
        assert_eq!(nodes.prober(1).err(), Some(NoProber::NotConnected));
    }
}
