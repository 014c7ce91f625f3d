//! What control planes of one store leave for each other: letters, each read once by the
//! one that it is for, and what each shows of its data planes. Like all that is written
//! beside the head it has no revision, and nobody misses it after a crash.

use std::collections::BTreeSet;

use super::{
    Error, Store,
    family::Family,
    presence::{ControlPlaneId, Presence},
    rows::{Order, Row, Rows, Span},
};

/// Letters that are taken at a time.
const TAKEN_MAX: usize = 100;
/// Keys of letters begin with whom they are for.
const CONTROL_PLANE_BYTES: usize = 16;

impl Store {
    /// Leaves a letter for another control plane. Where there can be none, nothing happens.
    pub async fn send_letter(&self, to: ControlPlaneId, id: [u8; 16], letter: Vec<u8>) -> Result<(), Error> {
        match self.backend.beside() {
            Some(beside) => beside.put(Family::Letters, key(to, id), letter).await,
            None => Ok(()),
        }
    }

    /// Takes a letter back. It may have been read.
    pub async fn withdraw_letter(&self, to: ControlPlaneId, id: [u8; 16]) -> Result<(), Error> {
        match self.backend.beside() {
            Some(beside) => beside.delete(Family::Letters, key(to, id)).await,
            None => Ok(()),
        }
    }

    /// The letters for this control plane, in no order; whoever reads them has to.
    pub async fn take_letters(&self) -> Result<Vec<Vec<u8>>, Error> {
        let Some(beside) = self.backend.beside() else {
            return Ok(Vec::new());
        };
        let mut letters = Vec::new();
        for Row { key, value } in self.letters_for(self.control_plane).await? {
            match beside.delete(Family::Letters, key).await {
                Ok(()) => letters.push(value),
                // What was taken is lost to others; the rest lies there still.
                Err(_) if !letters.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(letters)
    }

    /// Shows others the data planes of this control plane, in words of its own.
    pub async fn show_nodes(&self, shown: Vec<u8>) -> Result<(), Error> {
        match self.backend.beside() {
            Some(beside) => {
                let key = self.control_plane.as_bytes().to_vec();
                beside.put(Family::ShownNodes, key, shown).await
            }
            None => Ok(()),
        }
    }

    /// What the others show.
    pub async fn shown_nodes(&self) -> Result<Vec<(ControlPlaneId, Vec<u8>)>, Error> {
        let own = self.control_plane;
        self.blocking(move |rows| {
            let mut shown = Vec::new();
            for row in rows.scan(Family::ShownNodes, Span::all(), Order::Ascending) {
                let Row { key, value } = row?;
                let id = ControlPlaneId::read(Family::ShownNodes, &key)?;
                if id != own {
                    shown.push((id, value));
                }
            }
            Ok(shown)
        })
        .await
    }

    /// Drops what nobody will read, and what nobody shows any more.
    pub(super) async fn forget_letters(&self, gone: ControlPlaneId) -> Result<(), Error> {
        let Some(beside) = self.backend.beside() else {
            return Ok(());
        };
        loop {
            let letters = self.letters_for(gone).await?;
            let was_last = letters.len() < TAKEN_MAX;
            for Row { key, .. } in letters {
                beside.delete(Family::Letters, key).await?;
            }
            if was_last {
                break;
            }
        }
        beside.delete(Family::ShownNodes, gone.as_bytes().to_vec()).await
    }

    /// Drops what lies there for control planes, or is shown by ones, of whom nothing was heard
    /// twice: they are gone. Answers of whom nothing was heard this time: they may just have come.
    pub async fn forget_strays(
        &self,
        unheard: &BTreeSet<ControlPlaneId>,
    ) -> Result<BTreeSet<ControlPlaneId>, Error> {
        if self.backend.beside().is_none() {
            return Ok(BTreeSet::new());
        }
        let heard = self.presences().await?;
        let mut strays = self.blocking(whom_rows_name).await?;
        strays.remove(&self.control_plane);
        for Presence { control_plane, .. } in heard {
            strays.remove(&control_plane);
        }
        for gone in strays.intersection(unheard) {
            self.forget_letters(*gone).await?;
        }
        Ok(strays.difference(unheard).copied().collect())
    }

    async fn letters_for(&self, whom: ControlPlaneId) -> Result<Vec<Row>, Error> {
        self.blocking(move |rows| {
            let span = Span::prefix(whom.as_bytes());
            rows.scan(Family::Letters, span, Order::Ascending)
                .take(TAKEN_MAX)
                .collect()
        })
        .await
    }
}

fn whom_rows_name(rows: &dyn Rows) -> Result<BTreeSet<ControlPlaneId>, Error> {
    let mut named = BTreeSet::new();
    for family in [Family::Letters, Family::ShownNodes] {
        for row in rows.scan(family, Span::all(), Order::Ascending) {
            let Row { mut key, .. } = row?;
            key.truncate(CONTROL_PLANE_BYTES);
            named.insert(ControlPlaneId::read(family, &key)?);
        }
    }
    Ok(named)
}

fn key(to: ControlPlaneId, id: [u8; 16]) -> Vec<u8> {
    [to.as_bytes().as_slice(), id.as_slice()].concat()
}
