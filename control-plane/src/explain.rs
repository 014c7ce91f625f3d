//! Questions to data planes where a request would go, on their way. A node answers by the
//! code that serves traffic; here is only who was asked what. A node that is connected to
//! another control plane is asked by that one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge_proto::fleet::v1 as fleet;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::peers::{Answer, ExplainAsked, Explained, Peers, Question as PeerQuestion, Unanswered};
use crate::snapshot::nodes::{Ask, Lacking, NodeId, Nodes, Wanted};

/// Questions at the same time, over all nodes. A node takes as many.
const EXPLAINS_MAX: usize = 4;
/// How long a node may think.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
/// How long nodes may take to hold what was changed just before.
const SETTLE_WAIT: Duration = Duration::from_millis(500);
/// How much longer the answer of another control plane may take.
const PEER_GRACE: Duration = Duration::from_secs(6);
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no data plane that can explain is connected")]
    NoNode,
    #[error("data plane {0} is not connected, or cannot explain")]
    NotThere(String),
    #[error("there are too many questions at once; try again in a second")]
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

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) body: Vec<u8>,
    pub(crate) key_id: String,
    /// A node should hold this revision.
    pub(crate) revision: u64,
    /// `None`: any.
    pub(crate) node: Option<String>,
}

/// Questions on their way; clones share them.
#[derive(Clone)]
pub(crate) struct Explains {
    pending: Arc<Mutex<HashMap<Uuid, oneshot::Sender<fleet::Explanation>>>>,
    running: Arc<Semaphore>,
}

impl Default for Explains {
    fn default() -> Self {
        Self {
            pending: Arc::default(),
            running: Arc::new(Semaphore::new(EXPLAINS_MAX)),
        }
    }
}

impl Explains {
    pub(crate) async fn ask(
        &self,
        peers: &Peers,
        question: Question,
    ) -> Result<(NodeId, fleet::Explanation), Error> {
        match self.ask_here(&peers.nodes, &question).await {
            Err(Error::NoNode | Error::NotThere(_)) => ask_elsewhere(peers, question).await,
            settled => settled,
        }
    }

    /// Asks a node of this control plane.
    pub(crate) async fn ask_here(
        &self,
        nodes: &Nodes,
        question: &Question,
    ) -> Result<(NodeId, fleet::Explanation), Error> {
        let _running = self.running.try_acquire().map_err(|_| Error::TooMany {
            retry_after: RETRY_AFTER,
        })?;
        let deadline = Instant::now() + ANSWER_WAIT;
        let Question {
            body,
            key_id,
            revision,
            node: named,
        } = question;
        let wanted = Wanted {
            capability: fleet::Capability::Explain,
            revision: *revision,
            node: named.as_deref(),
        };
        let able = match nodes.wait_able(wanted, Instant::now() + SETTLE_WAIT).await {
            // Not every change is one that data planes are told; what judged is in the answer.
            Err(Lacking::Revision) => nodes.able(Wanted {
                revision: 0,
                ..wanted
            }),
            settled => settled,
        };
        let (node, asks) = able.map_err(|_lacking| match &named {
            Some(name) => Error::NotThere(name.clone()),
            None => Error::NoNode,
        })?;
        let (sender, answer) = oneshot::channel();
        let pending = Pending {
            explains: self,
            id: Uuid::new_v4(),
        };
        self.pending().insert(pending.id, sender);
        let explain = fleet::Explain {
            explain_id: pending.id.to_string(),
            body: body.clone(),
            key_id: key_id.clone(),
        };
        let asked = async {
            asks.send(Ask::Explain(explain)).await.ok()?;
            answer.await.ok()
        };
        match timeout_at(deadline, asked).await {
            Ok(Some(explanation)) => Ok((node, explanation)),
            Ok(None) | Err(_) => Err(Error::NoAnswer { node }),
        }
    }

    /// Takes a node's answer; one that nobody waits for any more is dropped.
    pub(crate) fn answered(&self, explained: fleet::Explained) {
        let fleet::Explained {
            explain_id,
            explanation,
        } = explained;
        let waiting = Uuid::try_parse(&explain_id)
            .ok()
            .and_then(|id| self.pending().remove(&id));
        if let (Some(waiting), Some(explanation)) = (waiting, explanation) {
            // Whoever asked may have gone. Without an explanation they hear that there is none.
            let _ = waiting.send(explanation);
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<Uuid, oneshot::Sender<fleet::Explanation>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the other control planes, one after the other, until one has a node for it.
async fn ask_elsewhere(peers: &Peers, question: Question) -> Result<(NodeId, fleet::Explanation), Error> {
    let deadline = Instant::now() + ANSWER_WAIT + PEER_GRACE;
    for place in peers.nodes.places() {
        let Question {
            body,
            key_id,
            revision,
            node,
        } = question.clone();
        let asked = PeerQuestion::Explain(ExplainAsked {
            body,
            key_id,
            revision,
            node_id: node.unwrap_or_default(),
        });
        match peers.ask(place, asked, deadline).await? {
            Answer::Explained(Explained {
                node_id,
                explanation: Some(explanation),
            }) => {
                let node = NodeId::parse(&node_id).ok_or(Unanswered::Silent)?;
                return Ok((node, explanation));
            }
            Answer::Refused(reason) => return Err(Error::Elsewhere(reason)),
            Answer::NoNode(_) => {}
            Answer::Done(_)
            | Answer::Probed(_)
            | Answer::Explained(Explained {
                explanation: None, ..
            }) => {
                return Err(Unanswered::Silent.into());
            }
        }
    }
    Err(question.node.map_or(Error::NoNode, Error::NotThere))
}

/// Forgets a question when nobody waits for its answer any more.
struct Pending<'a> {
    explains: &'a Explains,
    id: Uuid,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.explains.pending().remove(&self.id);
    }
}
