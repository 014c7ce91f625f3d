//! What the control planes of one store tell each other of their data planes. It is
//! no configuration: it is written beside the head, without a revision, and nobody
//! misses it after a crash.

use std::fmt;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    Error, Store,
    family::Family,
    record,
    rows::{Order, Row, Rows, Span},
};

/// Tells one control plane of a store from the others, from its start to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControlPlaneId([u8; 16]);

impl ControlPlaneId {
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(super) fn read(family: Family, key: &[u8]) -> Result<Self, Error> {
        let bytes = key.try_into();
        bytes
            .map(Self)
            .map_err(|_| Error::damaged(family, "a key is not the id of a control plane"))
    }
}

impl fmt::Display for ControlPlaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

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
    pub control_plane: ControlPlaneId,
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
        beside
            .put(Family::Presence, self.control_plane.as_bytes().to_vec(), row)
            .await
    }

    /// What the others say.
    pub async fn presences(&self) -> Result<Vec<Presence>, Error> {
        let own = self.control_plane;
        self.blocking(move |rows| read(rows, own)).await
    }

    /// Takes back what a control plane said that is gone, and what was left for it.
    pub async fn forget_presence(&self, gone: ControlPlaneId) -> Result<(), Error> {
        let Some(beside) = self.backend.beside() else {
            return Ok(());
        };
        self.forget_letters(gone).await?;
        beside.delete(Family::Presence, gone.as_bytes().to_vec()).await
    }

    /// Takes back what this control plane said.
    pub async fn leave(&self) -> Result<(), Error> {
        self.forget_presence(self.control_plane).await
    }
}

fn read(rows: &dyn Rows, own: ControlPlaneId) -> Result<Vec<Presence>, Error> {
    rows.scan(Family::Presence, Span::all(), Order::Ascending)
        .filter(|row| !row.as_ref().is_ok_and(|row| row.key == own.as_bytes()))
        .map(|row| {
            let Row { key, value } = row?;
            let (PresenceRecord { beat, nodes }, _) = record::decode_row(Family::Presence, &value)?;
            Ok(Presence {
                control_plane: ControlPlaneId::read(Family::Presence, &key)?,
                beat,
                nodes,
            })
        })
        .collect()
}
