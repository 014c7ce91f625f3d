//! Answers what other control planes of the store ask of the data planes that are connected
//! to this one. Each question is answered beside the others, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use bridge_proto::fleet::v1 as fleet;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::explain::{self, Explains};
use crate::peers::{
    Answer, CannotTell, Done, ExplainAsked, Explained, NoNode, Peers, ProbeAsked, Probed, Question,
};
use crate::probe::{self, Probes, Target};
use crate::snapshot::nodes::NodeId;

/// Questions that are answered at the same time.
const QUESTIONS_MAX: usize = 16;

#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) peers: Peers,
    pub(crate) probes: Probes,
    pub(crate) explains: Explains,
}

impl Desk {
    /// Runs until the shutdown; without others there is nothing to do.
    pub(crate) async fn run(self, tasks: TaskTracker, stopping: CancellationToken) {
        let Some(mut letters) = self.peers.letters() else {
            return;
        };
        let turns = Arc::new(Semaphore::new(QUESTIONS_MAX));
        loop {
            let asking = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                asking = letters.next() => match asking {
                    Some(asking) => asking,
                    None => return,
                },
            };
            let (desk, turn) = (self.clone(), Arc::clone(&turns).try_acquire_owned());
            let stopping = stopping.clone();
            tasks.spawn(async move {
                let answering = async {
                    let answer = match turn {
                        Ok(_turn) => desk.answer(asking.question.clone()).await,
                        Err(_) => Answer::Refused("another control plane has too much to answer".to_owned()),
                    };
                    asking.answer(answer).await;
                };
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => {}
                    () = answering => {}
                }
            });
        }
    }

    async fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Drain(id) => self.told(&id, |id| self.peers.drain_here(id)),
            Question::Forget(id) => self.told(&id, |id| self.peers.forget_here(id)),
            Question::TerminateStreams(terminate) => self.terminated(&terminate),
            Question::Probe(asked) => self.probed(asked).await,
            Question::Explain(asked) => self.explained(asked).await,
        }
    }

    fn told(&self, id: &str, tell: impl FnOnce(&NodeId) -> Result<(), CannotTell>) -> Answer {
        let told = NodeId::parse(id)
            .ok_or(CannotTell::Unknown)
            .and_then(|id| tell(&id));
        match told {
            Ok(()) => Answer::Done(Done::default()),
            Err(CannotTell::Unknown) => Answer::NoNode(NoNode {}),
            Err(error @ (CannotTell::Refused(_) | CannotTell::Unanswered(_))) => {
                Answer::Refused(error.to_string())
            }
        }
    }

    fn terminated(&self, terminate: &fleet::TerminateStreams) -> Answer {
        let untold = self.peers.terminate_here(terminate);
        Answer::Done(Done {
            untold: untold.iter().map(NodeId::to_string).collect(),
        })
    }

    async fn probed(&self, asked: ProbeAsked) -> Answer {
        let ProbeAsked {
            provider,
            model,
            revision,
            timeout_ms,
        } = asked;
        let target = Target {
            provider,
            model,
            revision,
        };
        let timeout = Duration::from_millis(timeout_ms).min(probe::TIMEOUT_MAX);
        match self.probes.ask_here(&self.peers.nodes, &target, timeout).await {
            Ok((node, result)) => Answer::Probed(Probed {
                node_id: node.to_string(),
                result: Some(result),
            }),
            Err(probe::Error::NoNode) => Answer::NoNode(NoNode {}),
            Err(error) => Answer::Refused(error.to_string()),
        }
    }

    async fn explained(&self, asked: ExplainAsked) -> Answer {
        let ExplainAsked {
            body,
            key_id,
            revision,
            node_id,
        } = asked;
        let question = explain::Question {
            body,
            key_id,
            revision,
            node: (!node_id.is_empty()).then_some(node_id),
        };
        match self.explains.ask_here(&self.peers.nodes, &question).await {
            Ok((node, explanation)) => Answer::Explained(Explained {
                node_id: node.to_string(),
                explanation: Some(explanation),
            }),
            Err(explain::Error::NoNode | explain::Error::NotThere(_)) => Answer::NoNode(NoNode {}),
            Err(error) => Answer::Refused(error.to_string()),
        }
    }
}
