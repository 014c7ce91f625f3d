//! What the control planes of one store tell each other of their data planes. It is
//! no configuration: it is written beside the head, without a revision, and nobody
//! misses it after a crash.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    Error, Store,
    family::Family,
    record,
    rows::{Order, Row, Rows, Span},
};

/// A data plane at some control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSeen {
    pub node: String,
    /// The revision that it has acknowledged, and the one that it has refused.
    pub acked: Option<u64>,
    pub refused: Option<u64>,
    /// Takes requests, and is not about to stop.
    pub is_live: bool,
}

/// What a control plane says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    pub control_plane: Vec<u8>,
    /// Differs from what it said before, so that its silence can be told.
    pub beat: u64,
    pub nodes: Vec<NodeSeen>,
}

#[derive(Serialize, Deserialize)]
struct PresenceRecord {
    beat: u64,
    nodes: Vec<NodeSeen>,
}

impl Store {
    /// Told whenever another control plane says something; `None`: there can be no other.
    #[must_use]
    pub fn presence_told(&self) -> Option<watch::Receiver<()>> {
        Some(self.backend.beside()?.told())
    }

    pub async fn tell_presence(&self, beat: u64, nodes: Vec<NodeSeen>) -> Result<(), Error> {
        let Some(beside) = self.backend.beside() else {
            return Ok(());
        };
        let record = PresenceRecord { beat, nodes };
        let row = record::encode_row(Family::Presence, record, 0)?;
        beside.put(Family::Presence, self.process.to_vec(), row).await
    }

    /// What the others say.
    pub async fn presences(&self) -> Result<Vec<Presence>, Error> {
        let own = self.process;
        self.blocking(move |rows| read(rows, &own)).await
    }

    /// Takes back what a control plane said that is gone.
    pub async fn forget_presence(&self, control_plane: &[u8]) -> Result<(), Error> {
        match self.backend.beside() {
            Some(beside) => beside.delete(Family::Presence, control_plane.to_vec()).await,
            None => Ok(()),
        }
    }

    /// Takes back what this control plane said.
    pub async fn leave(&self) -> Result<(), Error> {
        self.forget_presence(&self.process).await
    }
}

fn read(rows: &dyn Rows, own: &[u8]) -> Result<Vec<Presence>, Error> {
    rows.scan(Family::Presence, Span::all(), Order::Ascending)
        .filter(|row| !row.as_ref().is_ok_and(|row| row.key == own))
        .map(|row| {
            let Row { key, value } = row?;
            let (PresenceRecord { beat, nodes }, _) = record::decode_row(Family::Presence, &value)?;
            Ok(Presence {
                control_plane: key,
                beat,
                nodes,
            })
        })
        .collect()
}
