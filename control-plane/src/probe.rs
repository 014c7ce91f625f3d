//! Tests of a provider, run by a data plane: the call is made where traffic would
//! make it, with the network and the configuration of traffic. Where none is connected
//! here, another control plane is asked to have one of its own do it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge_proto::fleet::v1 as fleet;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::peers::{Answer, Peers, ProbeAsked, Probed, Question, Unanswered};
use crate::snapshot::nodes::{Ask, Lacking, NodeId, Nodes, Wanted};

/// Single tests that run at the same time, over all nodes.
const TESTS_MAX: usize = 4;
/// Calls of health checks that run at the same time, over all nodes.
pub(crate) const CHECKS_MAX: usize = 4;
/// Single tests that may begin within a minute.
const TESTS_PER_MINUTE: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);
/// Longest call that anybody may ask for.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// How much longer than the call itself its answer may take.
const ANSWER_GRACE: Duration = Duration::from_secs(2);
/// And how much longer than that the answer of another control plane.
const PEER_GRACE: Duration = Duration::from_secs(6);

/// What to probe.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) provider: String,
    /// The upstream's name of the model.
    pub(crate) model: String,
    /// A node must hold this revision, so that it knows the provider as it is now.
    pub(crate) revision: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no data plane that can test a provider is connected")]
    NoNode,
    #[error("no data plane holds the provider's current configuration yet")]
    NotYetHeld,
    #[error("there are too many tests; try again in {} s", retry_after.as_secs())]
    TooMany { retry_after: Duration },
    #[error("data plane {node} did not answer in time")]
    NoAnswer { node: NodeId },
    #[error("data planes are connected to another control plane only: {0}")]
    Elsewhere(String),
}

impl From<Unanswered> for Error {
    fn from(unanswered: Unanswered) -> Self {
        Self::Elsewhere(unanswered.to_string())
    }
}

/// Probes on their way; clones share them.
#[derive(Clone)]
pub(crate) struct Probes {
    shared: Arc<Shared>,
}

struct Shared {
    pending: Mutex<HashMap<Uuid, oneshot::Sender<fleet::ProbeResult>>>,
    tests: Semaphore,
    checks: Semaphore,
    started: Mutex<Window>,
}

/// Counts starts within the current minute.
struct Window {
    began: Instant,
    starts: u32,
}

impl Default for Probes {
    fn default() -> Self {
        let shared = Shared {
            pending: Mutex::default(),
            tests: Semaphore::new(TESTS_MAX),
            checks: Semaphore::new(CHECKS_MAX),
            started: Mutex::new(Window {
                began: Instant::now(),
                starts: 0,
            }),
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl Probes {
    /// Has a node call the provider once, now or not at all.
    pub(crate) async fn run(
        &self,
        peers: &Peers,
        target: Target,
        timeout: Duration,
    ) -> Result<(NodeId, fleet::ProbeResult), Error> {
        let _running = self
            .shared
            .tests
            .try_acquire()
            .map_err(|_| Error::TooMany { retry_after: timeout })?;
        self.count_start()?;
        self.ask(peers, target, timeout).await
    }

    /// The same when it is this call's turn; whoever asks bounds how many wait.
    pub(crate) async fn run_in_turn(
        &self,
        peers: &Peers,
        target: Target,
        timeout: Duration,
    ) -> Result<(NodeId, fleet::ProbeResult), Error> {
        // It is never closed.
        let _turn = self.shared.checks.acquire().await.ok();
        self.ask(peers, target, timeout).await
    }

    async fn ask(
        &self,
        peers: &Peers,
        target: Target,
        timeout: Duration,
    ) -> Result<(NodeId, fleet::ProbeResult), Error> {
        match self.ask_here(&peers.nodes, &target, timeout).await {
            Err(Error::NoNode) => ask_elsewhere(peers, &target, timeout).await,
            settled => settled,
        }
    }

    /// Has a node of this control plane do it.
    pub(crate) async fn ask_here(
        &self,
        nodes: &Nodes,
        target: &Target,
        timeout: Duration,
    ) -> Result<(NodeId, fleet::ProbeResult), Error> {
        let deadline = Instant::now() + timeout + ANSWER_GRACE;
        let (node, asks) = nodes
            .wait_able(wanted(target.revision), deadline)
            .await
            .map_err(|lacking| match lacking {
                Lacking::Node => Error::NoNode,
                Lacking::Revision => Error::NotYetHeld,
            })?;
        let (pending, answer) = self.expect_answer();
        let probe = fleet::Probe {
            probe_id: pending.id.to_string(),
            provider: target.provider.clone(),
            model: target.model.clone(),
            timeout: prost_types::Duration::try_from(timeout).ok(),
        };
        let asked = async {
            asks.send(Ask::Probe(probe)).await.ok()?;
            answer.await.ok()
        };
        match timeout_at(deadline, asked).await {
            Ok(Some(result)) => Ok((node, result)),
            Ok(None) | Err(_) => Err(Error::NoAnswer { node }),
        }
    }

    /// Takes a node's answer; one that nobody waits for any more is dropped.
    pub(crate) fn answered(&self, result: fleet::ProbeResult) {
        let waiting = Uuid::try_parse(&result.probe_id)
            .ok()
            .and_then(|id| self.pending().remove(&id));
        if let Some(waiting) = waiting {
            // Whoever asked may have gone.
            let _ = waiting.send(result);
        }
    }

    fn count_start(&self) -> Result<(), Error> {
        let mut window = self.shared.started.lock().unwrap_or_else(PoisonError::into_inner);
        let age = window.began.elapsed();
        if age >= MINUTE {
            *window = Window {
                began: Instant::now(),
                starts: 0,
            };
        }
        if window.starts >= TESTS_PER_MINUTE {
            return Err(Error::TooMany {
                retry_after: MINUTE.saturating_sub(age),
            });
        }
        window.starts += 1;
        Ok(())
    }

    fn expect_answer(&self) -> (Pending<'_>, oneshot::Receiver<fleet::ProbeResult>) {
        let (sender, answer) = oneshot::channel();
        let id = Uuid::new_v4();
        self.pending().insert(id, sender);
        (Pending { probes: self, id }, answer)
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<Uuid, oneshot::Sender<fleet::ProbeResult>>> {
        self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node that can probe and holds this revision.
fn wanted(revision: u64) -> Wanted<'static> {
    Wanted {
        capability: fleet::Capability::Probe,
        revision,
        node: None,
    }
}

/// Whether anybody could make a call, whatever they hold.
pub(crate) fn is_possible(nodes: &Nodes) -> bool {
    nodes.able(wanted(0)).err() != Some(Lacking::Node) || !nodes.places().is_empty()
}

/// Asks the other control planes, one after the other, until one has a node for it.
async fn ask_elsewhere(
    peers: &Peers,
    target: &Target,
    timeout: Duration,
) -> Result<(NodeId, fleet::ProbeResult), Error> {
    let deadline = Instant::now() + timeout + ANSWER_GRACE + PEER_GRACE;
    for place in peers.nodes.places() {
        let question = Question::Probe(ProbeAsked {
            provider: target.provider.clone(),
            model: target.model.clone(),
            revision: target.revision,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        });
        match peers.ask(place, question, deadline).await? {
            Answer::Probed(Probed {
                node_id,
                result: Some(result),
            }) => {
                let node = NodeId::parse(&node_id).ok_or(Unanswered::Silent)?;
                return Ok((node, result));
            }
            Answer::Refused(reason) => return Err(Error::Elsewhere(reason)),
            Answer::NoNode(_) => {}
            Answer::Done(_) | Answer::Explained(_) | Answer::Probed(Probed { result: None, .. }) => {
                return Err(Unanswered::Silent.into());
            }
        }
    }
    Err(Error::NoNode)
}

/// Forgets a probe when nobody waits for it any more.
struct Pending<'a> {
    probes: &'a Probes,
    id: Uuid,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.probes.pending().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn target(revision: u64) -> Target {
        Target {
            provider: "qwen".into(),
            model: "qwen-max".into(),
            revision,
        }
    }

    fn node(nodes: &Nodes, acked: u64) -> crate::snapshot::nodes::Membership {
        nodes.join_test("a", true, Some(acked))
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_finds_who_asked() {
        let (probes, peers) = (Probes::default(), Peers::alone(Nodes::new(Gauge::default())));
        let mut member = node(&peers.nodes, 3);
        let answering = async {
            let Ask::Probe(probe) = member.asks.recv().await.unwrap() else {
                panic!("no probe")
            };
            assert_eq!(
                (probe.provider.as_str(), probe.model.as_str()),
                ("qwen", "qwen-max")
            );
            probes.answered(fleet::ProbeResult {
                probe_id: "unknown".into(),
                ..Default::default()
            });
            probes.answered(fleet::ProbeResult {
                probe_id: probe.probe_id,
                ok: true,
                ..Default::default()
            });
        };
        let (result, ()) = tokio::join!(probes.run(&peers, target(3), TIMEOUT), answering);
        assert!(result.unwrap().1.ok);
        assert!(probes.pending().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_able_node_there_is_no_test() {
        let (probes, peers) = (Probes::default(), Peers::alone(Nodes::new(Gauge::default())));
        assert!(matches!(
            probes.run(&peers, target(3), TIMEOUT).await,
            Err(Error::NoNode)
        ));
        let _member = node(&peers.nodes, 2);
        assert!(matches!(
            probes.run(&peers, target(3), TIMEOUT).await,
            Err(Error::NotYetHeld)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_is_named_and_forgotten() {
        let (probes, peers) = (Probes::default(), Peers::alone(Nodes::new(Gauge::default())));
        let _member = node(&peers.nodes, 3);
        assert!(matches!(
            probes.run(&peers, target(3), TIMEOUT).await,
            Err(Error::NoAnswer { .. })
        ));
        assert!(probes.pending().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn tests_are_limited_by_the_minute() {
        let (probes, peers) = (Probes::default(), Peers::alone(Nodes::new(Gauge::default())));
        for _ in 0..TESTS_PER_MINUTE {
            assert!(matches!(
                probes.run(&peers, target(1), TIMEOUT).await,
                Err(Error::NoNode)
            ));
        }
        assert!(matches!(
            probes.run(&peers, target(1), TIMEOUT).await,
            Err(Error::TooMany { .. })
        ));
        tokio::time::advance(MINUTE).await;
        assert!(matches!(
            probes.run(&peers, target(1), TIMEOUT).await,
            Err(Error::NoNode)
        ));
    }
}
