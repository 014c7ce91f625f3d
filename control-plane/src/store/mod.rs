//! What the control plane knows, and how it is changed.
//!
//! Every change is planned into rows that are written as one: data, indexes,
//! revision, change log and audit row together. It is acknowledged, announced and
//! readable only when it survives a crash. What keeps the rows stands behind
//! `rows` and `backend`, which is all that the rest of the store knows of it.

mod audit_chain;
mod audit_log;
mod backend;
mod backup;
mod breaker_overrides;
mod change;
mod change_log;
mod checks;
mod digest;
mod error;
mod family;
mod fleet_nodes;
mod head;
mod history;
mod idempotency;
mod join_tokens;
mod letters;
mod model_rules;
mod owned_keys;
mod plan;
mod postgres;
mod presence;
mod read;
mod record;
mod revisions;
mod rows;
mod service_tokens;
mod sled;
#[cfg(test)]
mod tests;
mod thing;
mod usage;
mod users;
mod verify;
mod write_set;
mod writer;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot, watch};

pub use audit_chain::AuditChain;
pub use audit_log::{AuditAsk, AuditPage, AuditRow};
pub use backend::Alone;
pub use backup::{
    Error as BackupError, Header as BackupHeader, Inspected, MAGIC as BACKUP_MAGIC, Sessions, inspect,
};
pub use change::{Change, Commit, Committed, Expect, Idempotency, KeyRoom, Kind, SealedName, SessionChange};
pub use error::{CommitError, Error, OpenError};
pub use history::{Between, Changed};
pub use presence::{ControlPlaneId, NodeSeen, Presence};
pub use read::{Changes, Configuration, Resource, ResourceChange};
pub use record::Stored;
pub use revisions::{Revision, RevisionAsk, RevisionPage};
pub use thing::{Thing, target};
pub use usage::{Cursor, KeyUsage, LogAsk, LogPage, Spent, Swept, UsageAsk};

use backend::{Backend, Parts};
use head::Installation;
use idempotency::Sweep;
use plan::Request;
use writer::{Message, Writer};

use crate::domain::{health::Check, retention::Retention, usage::Report};

/// Requests that wait for the writer; beyond it callers wait.
const QUEUE_MAX: usize = 256;

/// Where in the history of one installation something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreVersion {
    /// Made once with the store.
    pub cluster_id: [u8; 16],
    /// +1 with every restore of a backup.
    pub epoch: u64,
    /// +1 with every committed change of configuration.
    pub revision: u64,
}

/// A handle; all clones share the one writer.
#[derive(Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    installation: Installation,
    messages: mpsc::Sender<Message>,
    revision: watch::Receiver<u64>,
    is_writable: Arc<AtomicBool>,
    control_plane: ControlPlaneId,
}

impl Store {
    /// Opens or creates the store in a folder. Blocks, at most for some seconds.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let parts = self::sled::open(path, |disk| disk)?;
        Self::start(parts).map_err(|source| OpenError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// Opens or creates the store in a PostgreSQL database. Blocks, at most for half a
    /// minute and for as long as it takes to verify what is there.
    pub fn connect(url: &SecretString) -> Result<Self, OpenError> {
        let parts = postgres::open(url)?;
        Self::start(parts).map_err(|source| OpenError::Thread { source })
    }

    fn start(parts: Parts) -> io::Result<Self> {
        let Parts {
            backend,
            ledger,
            installation,
            revision,
        } = parts;
        let is_writable = Arc::new(AtomicBool::new(true));
        let (messages, queue) = mpsc::channel(QUEUE_MAX);
        let writer = Writer {
            ledger,
            sweep: Sweep::default(),
            is_writable: Arc::clone(&is_writable),
            patience: writer::PATIENCE,
        };
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(queue))?;
        Ok(Self {
            backend,
            installation,
            messages,
            revision,
            is_writable,
            control_plane: ControlPlaneId::from_bytes(rand::random()),
        })
    }

    /// Which control plane this is, among those on the same store.
    #[must_use]
    pub fn control_plane(&self) -> ControlPlaneId {
        self.control_plane
    }

    /// Keeps other control planes on the same store from setting it up meanwhile.
    pub async fn alone(&self) -> Result<Alone, Error> {
        self.backend.alone().await
    }

    /// The version that survives a crash.
    #[must_use]
    pub fn version(&self) -> StoreVersion {
        self.version_at(*self.revision.borrow())
    }

    fn version_at(&self, revision: u64) -> StoreVersion {
        let Installation { cluster_id, epoch } = self.installation;
        StoreVersion {
            cluster_id,
            epoch,
            revision,
        }
    }

    /// The revision, as it grows. Set when a change survives a crash, never before.
    #[must_use]
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.clone()
    }

    /// False once a write failed or the store was closed: only a restart helps.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.is_writable.load(Ordering::Acquire) && !self.messages.is_closed()
    }

    /// Carries out changes together or not at all; `Ok` means they survive a crash.
    /// Giving up on the answer does not take a commit back.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.write(Request::Commit(Box::new(commit))).await
    }

    /// Carries out bookkeeping that needs no audit, as durably as a commit.
    pub async fn keep_sessions(&self, changes: Vec<SessionChange>) -> Result<(), CommitError> {
        self.write(Request::Sessions(changes)).await.map(drop)
    }

    /// Keeps what checks have shown of providers as these revisions left them.
    pub async fn keep_checks(&self, checks: Vec<(Check, u64)>) -> Result<(), CommitError> {
        self.write(Request::Checks(checks)).await.map(drop)
    }

    /// Counts a report, unless it was counted before.
    pub async fn count_usage(&self, report: Report, now_s: u64) -> Result<(), CommitError> {
        self.write(Request::Usage(Box::new(report), now_s))
            .await
            .map(drop)
    }

    /// Drops some of what is outdated. The cursor tells where to go on next time.
    pub async fn sweep_usage(
        &self,
        now_s: u64,
        retention: Retention,
        cursor: Cursor,
    ) -> Result<Swept, CommitError> {
        let found = self
            .blocking(move |rows| usage::find(rows, now_s, &retention, cursor))
            .await?;
        let (outdated, swept) = found;
        if !outdated.is_empty() {
            self.write(Request::ForgetUsage(outdated)).await?;
        }
        Ok(swept)
    }

    async fn write(&self, request: Request) -> Result<Committed, CommitError> {
        let (answer, answered) = oneshot::channel();
        self.messages
            .send(Message::Write(request, answer))
            .await
            .map_err(|_| CommitError::Broken)?;
        answered.await.map_err(|_| CommitError::Broken)?
    }

    /// Waits for what was asked before and ends the writer; later changes are refused.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.messages.send(Message::Close(done)).await.is_ok() {
            // The writer may have ended before it read this.
            let _ = closed.await;
        }
    }
}
