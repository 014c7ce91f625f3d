//! Commands to data planes, wherever they are connected.

use std::collections::BTreeSet;
use std::time::Duration;

use bridge_proto::fleet::v1 as fleet;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{Answer, Done, Peers, Question, Unanswered};
use crate::snapshot::nodes::{Ask, CannotForget, NodeId};
use crate::store::ControlPlaneId;

/// How long another control plane may take for a command. Longer than a notice that was
/// lost takes to be noticed.
const ANSWER_WAIT: Duration = Duration::from_secs(8);
/// It has this long, however little whoever asks would wait.
const ANSWER_WAIT_MIN: Duration = Duration::from_secs(1);

/// Why a command did not reach its data plane.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotTell {
    #[error("there is no such data plane")]
    Unknown,
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

impl Peers {
    /// Has a data plane finish what it serves and end.
    pub(crate) async fn drain(&self, id: &NodeId) -> Result<(), CannotTell> {
        if self.nodes.is_connected(id) {
            return self.drain_here(id);
        }
        match self.nodes.place_of(id) {
            Some(place) => self.command(place, Question::Drain(id.to_string())).await,
            None if self.nodes.knows(id) => Err(not_connected(id)),
            None => Err(CannotTell::Unknown),
        }
    }

    pub(crate) fn drain_here(&self, id: &NodeId) -> Result<(), CannotTell> {
        if self.nodes.tell_one(id, Ask::Drain(fleet::Drain {})) {
            Ok(())
        } else {
            Err(not_connected(id))
        }
    }

    /// Takes a data plane off the lists of all control planes.
    pub(crate) async fn forget(&self, id: &NodeId) -> Result<(), CannotTell> {
        if !self.nodes.knows(id) {
            return Err(CannotTell::Unknown);
        }
        if self.nodes.place_of(id).is_some() {
            return Err(still_connected(id));
        }
        match self.nodes.forget(id) {
            Ok(()) | Err(CannotForget::Unknown) => {}
            Err(CannotForget::Connected) => return Err(still_connected(id)),
        }
        for place in self.nodes.shown_at(id) {
            self.command(place, Question::Forget(id.to_string())).await?;
        }
        self.nodes.unshow(id);
        Ok(())
    }

    pub(crate) fn forget_here(&self, id: &NodeId) -> Result<(), CannotTell> {
        match self.nodes.forget(id) {
            Ok(()) | Err(CannotForget::Unknown) => Ok(()),
            Err(CannotForget::Connected) => Err(still_connected(id)),
        }
    }

    /// Ends what runs with these keys, everywhere. Answers the data planes that could not
    /// be told, where it goes on.
    pub(crate) async fn terminate_streams(&self, key_ids: Vec<String>, wait: Duration) -> Vec<NodeId> {
        let terminate = fleet::TerminateStreams { key_ids };
        let deadline = Instant::now() + wait.clamp(ANSWER_WAIT_MIN, ANSWER_WAIT);
        let mut untold: BTreeSet<NodeId> = self.terminate_here(&terminate).into_iter().collect();
        let asked = self.nodes.places().into_iter().map(async |place| {
            let question = Question::TerminateStreams(terminate.clone());
            match self.ask(place, question, deadline).await {
                Ok(Answer::Done(Done { untold })) => {
                    untold.iter().filter_map(|id| NodeId::parse(id)).collect()
                }
                Ok(Answer::Probed(_) | Answer::Explained(_) | Answer::NoNode(_) | Answer::Refused(_))
                | Err(_) => self.nodes.ids_at(place),
            }
        });
        untold.extend(join_all(asked).await.into_iter().flatten());
        if !untold.is_empty() {
            tracing::warn!(
                nodes = untold.len(),
                "data planes were not told to end what runs with a key: there it goes on"
            );
        }
        untold.into_iter().collect()
    }

    pub(crate) fn terminate_here(&self, terminate: &fleet::TerminateStreams) -> Vec<NodeId> {
        let message = Ask::TerminateStreams(terminate.clone());
        self.nodes.tell_all(fleet::Capability::TerminateStreams, &message)
    }

    async fn command(&self, place: ControlPlaneId, question: Question) -> Result<(), CannotTell> {
        match self.ask(place, question, Instant::now() + ANSWER_WAIT).await? {
            Answer::Done(_) => Ok(()),
            Answer::NoNode(_) => Err(CannotTell::Unknown),
            Answer::Refused(reason) => Err(CannotTell::Refused(reason)),
            Answer::Probed(_) | Answer::Explained(_) => Err(CannotTell::Unanswered(Unanswered::Silent)),
        }
    }
}

fn not_connected(id: &NodeId) -> CannotTell {
    CannotTell::Refused(format!("data plane {id} is not connected"))
}

fn still_connected(id: &NodeId) -> CannotTell {
    CannotTell::Refused(format!("data plane {id} is connected; drain it first"))
}
