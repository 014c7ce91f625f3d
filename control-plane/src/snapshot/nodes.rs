//! The data planes: which are connected, what each has acknowledged or refused, and
//! what it says of itself.
//!
//! A node is connected exactly as long as its stream: the stream holds a [`Membership`]
//! and its drop ends it. A node that connects again replaces its older stream, so that
//! a half-dead connection never answers for a live one. Nodes that are gone are
//! remembered for the admin, within a limit.

mod away;
mod membership;
mod record;
mod waiting;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use bridge_proto::fleet::v1 as fleet;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::point::Point;
use crate::domain::node::Refusal;
use crate::store::NodeSeen;

pub(crate) use crate::domain::node::NodeId;
pub(crate) use away::{Away, Elsewhere, Shown};
pub(crate) use membership::Membership;
pub(crate) use record::{Answer, Facts, Identity, Progress, Record, Refused, SCHEMA, short};

/// Questions and asks that may wait for one node.
const ASK_QUEUE: usize = 32;

/// The registry; clones share it.
#[derive(Clone)]
pub(crate) struct Nodes {
    shared: Arc<Shared>,
}

struct Shared {
    nodes: Mutex<BTreeMap<NodeId, Node>>,
    /// Locked after `nodes`, where both are.
    elsewhere: Mutex<Elsewhere>,
    /// Nothing else is locked while it is.
    shown: Mutex<Shown>,
    /// Told after every change of `nodes`.
    changed: watch::Sender<()>,
    connected: Gauge,
}

struct Node {
    record: Record,
    /// Its stream, while there is one.
    link: Option<Link>,
}

/// The way to a node that is connected.
struct Link {
    ending: Arc<Ending>,
    asks: mpsc::Sender<Ask>,
}

/// Ends one stream; also tells it from the next.
#[derive(Default)]
pub(crate) struct Ending {
    token: CancellationToken,
    why: OnceLock<End>,
}

/// Why a stream has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A newer stream of the same node is there.
    Replaced,
    /// What the node has shown opens nothing any longer.
    Refused(Refusal),
    /// Its certificate has expired.
    Expired,
}

impl Ending {
    fn end(&self, why: End) {
        // Whatever ended it first is the reason.
        let _ = self.why.set(why);
        self.token.cancel();
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> End {
        self.token.cancelled().await;
        self.why.get().copied().unwrap_or(End::Replaced)
    }
}

/// What a node is asked to find out or to do: messages that are no configuration.
pub(crate) type Ask = fleet::watch_response::Message;

/// What a node must be to be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) capability: fleet::Capability,
    /// It must hold this revision, with nothing before it held back.
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
            shown: Mutex::default(),
            changed: watch::Sender::new(()),
            connected,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes a node in. `held`: what it holds already, of this history.
    pub(crate) fn join(&self, id: NodeId, facts: Facts, held: Option<Point>) -> Membership {
        let (sender, asks) = mpsc::channel(ASK_QUEUE);
        let ending = Arc::<Ending>::default();
        let node = Node {
            record: Record::new(facts, held, SystemTime::now()),
            link: Some(Link {
                ending: Arc::clone(&ending),
                asks: sender,
            }),
        };
        if let Some(older) = self.lock().insert(id.clone(), node)
            && let Some(link) = older.link
        {
            link.ending.end(End::Replaced);
        }
        self.tell();
        Membership {
            nodes: self.clone(),
            id,
            ending,
            asks,
        }
    }

    /// Ends streams, of those for whom there is a reason.
    pub(crate) fn end_where(&self, why: impl Fn(&NodeId, &Identity) -> Option<End>) {
        let nodes = self.lock();
        let connected = nodes
            .iter()
            .filter_map(|(id, node)| Some((id, &node.record.facts.identity, node.link.as_ref()?)));
        for (id, identity, link) in connected {
            if let Some(end) = why(id, identity) {
                link.ending.end(end);
            }
        }
    }

    /// Tells those who follow that something has changed which others keep.
    pub(crate) fn tell_changed(&self) {
        self.tell();
    }

    /// Told after every change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// What other control planes have to know of the nodes here.
    pub(crate) fn seen(&self) -> Vec<NodeSeen> {
        let nodes = self.lock();
        let connected = nodes.iter().filter(|(_, node)| node.link.is_some());
        let seen = connected.map(|(id, node)| {
            let progress = &node.record.progress;
            let refused = progress.refused.as_ref();
            NodeSeen {
                node: id.to_string(),
                acked: progress.acked.map(|acked| acked.revision()),
                refused: refused.map(|(refused, _)| refused.revision()),
                is_live: !node.record.is_draining(),
            }
        });
        seen.collect()
    }

    /// Waits for a node that can be asked and holds the revision.
    pub(crate) async fn wait_able(
        &self,
        wanted: Wanted<'_>,
        deadline: Instant,
    ) -> Result<(NodeId, mpsc::Sender<Ask>), Lacking> {
        let mut changed = self.changes();
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
        let connected = nodes
            .iter()
            .filter_map(|(id, node)| Some((id, &node.record, node.link.as_ref()?)));
        let able = connected.filter(|(id, record, _)| {
            let is_meant = named.is_none_or(|named| named == id.as_str());
            is_meant && record.facts.can(capability) && record.facts.is_compatible() && !record.is_draining()
        });
        let newest = able
            .rev()
            .max_by_key(|(_, record, _)| record.progress.complete_to);
        let (id, record, link) = newest.ok_or(Lacking::Node)?;
        if record.progress.complete_to < Some(revision) {
            return Err(Lacking::Revision);
        }
        Ok((id.clone(), link.asks.clone()))
    }

    /// Who might get a risky change first: preferably one that holds what the others do,
    /// and the one with the least to lose.
    pub(crate) fn canary(&self, released: &Point, except: Option<&NodeId>) -> Option<NodeId> {
        let nodes = self.lock();
        let fit = nodes.iter().filter(|(id, node)| {
            let Record { progress, .. } = &node.record;
            node.link.is_some()
                && !node.record.is_draining()
                && node.record.facts.is_compatible()
                && progress.acked.is_some()
                && Some(*id) != except
        });
        let first = fit.min_by_key(|(id, node)| {
            let record = &node.record;
            let is_behind = record.progress.acked.as_ref() != Some(released);
            (is_behind, record.requests_in_flight(), *id)
        });
        first.map(|(id, _)| id.clone())
    }

    /// What a node has answered; `None` if it is not connected.
    pub(crate) fn answer(&self, id: &NodeId) -> Option<Answer> {
        let nodes = self.lock();
        let node = nodes.get(id).filter(|node| node.link.is_some())?;
        Some(node.record.progress.answer())
    }

    /// Tells every connected node. Those that cannot do it, or take nothing, are named.
    pub(crate) fn tell_all(&self, capability: fleet::Capability, message: &Ask) -> Vec<NodeId> {
        let nodes = self.lock();
        let connected = nodes
            .iter()
            .filter_map(|(id, node)| Some((id, &node.record, node.link.as_ref()?)));
        let untold = connected.filter(|(_, record, link)| {
            !record.facts.can(capability) || link.asks.try_send(message.clone()).is_err()
        });
        untold.map(|(id, _, _)| id.clone()).collect()
    }

    /// Asks one node. `false`: it is not connected, or takes nothing.
    pub(crate) fn tell_one(&self, id: &NodeId, message: Ask) -> bool {
        let nodes = self.lock();
        let link = nodes.get(id).and_then(|node| node.link.as_ref());
        link.is_some_and(|link| link.asks.try_send(message).is_ok())
    }

    /// Everything that is known, by id, and whether each is connected.
    pub(crate) fn list(&self) -> Vec<(NodeId, Record, bool)> {
        let nodes = self.lock();
        let all = nodes
            .iter()
            .map(|(id, node)| (id.clone(), node.record.clone(), node.link.is_some()));
        all.collect()
    }

    /// Here or at another control plane, connected or gone.
    pub(crate) fn knows(&self, id: &NodeId) -> bool {
        self.lock().contains_key(id) || self.place_of(id).is_some() || !self.shown_at(id).is_empty()
    }

    pub(crate) fn is_connected(&self, id: &NodeId) -> bool {
        self.lock().get(id).is_some_and(|node| node.link.is_some())
    }

    /// Takes a node off the list that is not connected.
    pub(crate) fn forget(&self, id: &NodeId) -> Result<(), CannotForget> {
        {
            let mut nodes = self.lock();
            match nodes.get(id) {
                None => return Err(CannotForget::Unknown),
                Some(Node { link: Some(_), .. }) => return Err(CannotForget::Connected),
                Some(Node { link: None, .. }) => nodes.remove(id),
            };
        }
        self.tell();
        Ok(())
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

    fn shown_by_others(&self) -> MutexGuard<'_, Shown> {
        self.shared.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        let connected = self.lock().values().filter(|node| node.link.is_some()).count();
        self.shared
            .connected
            .set(i64::try_from(connected).unwrap_or(i64::MAX));
        self.shared.changed.send_replace(());
    }
}

/// Why a node stays on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CannotForget {
    Unknown,
    Connected,
}

#[cfg(test)]
impl Nodes {
    /// A node of a test: it can probe or nothing.
    pub(crate) fn join_test(&self, id: &str, can_probe: bool, acked: Option<u64>) -> Membership {
        let mut facts = Facts {
            schema_max: SCHEMA,
            ..Facts::default()
        };
        if can_probe {
            facts.capabilities = vec![fleet::Capability::Probe];
        }
        let id = NodeId::parse(id).expect("the name of a node");
        self.join(id, facts, acked.map(Point::test))
    }
}

#[cfg(test)]
impl super::ledger::Target {
    pub(crate) fn test(revision: u64) -> Self {
        Self {
            point: Point::test(revision),
            complete_to: revision,
        }
    }
}

#[cfg(test)]
mod tests;
