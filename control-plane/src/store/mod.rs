//! What the control plane knows, on disk. The only module that touches sled.
//!
//! One writer carries out every change as one transaction: data, indexes, revision,
//! change log and audit row together. A change is acknowledged, announced and
//! readable only when it survives a crash. The interface is narrow on purpose, so
//! that another backend can stand behind it.

mod audit_log;
mod change;
mod change_log;
mod disk;
mod error;
mod family;
mod folder;
mod head;
mod idempotency;
mod marker;
mod open;
mod plan;
mod read;
mod record;
#[cfg(test)]
mod tests;
mod trees;
mod writer;

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tokio::sync::{RwLock, mpsc, oneshot, watch};

pub use audit_log::AuditRow;
pub use change::{Change, Commit, Committed, Expect, Idempotency, Kind, SealedName, SessionChange};
pub use error::{CommitError, Error, OpenError};
pub use read::{Changes, Configuration, Resource, ResourceChange};
pub use record::Stored;

use disk::{Disk, Durability};
use head::Installation;
use idempotency::Sweep;
use open::Opened;
use plan::Request;
use trees::Trees;
use writer::{Message, Shared, Writer};

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
    trees: Trees,
    installation: Installation,
    durable: Arc<RwLock<()>>,
    messages: mpsc::Sender<Message>,
    revision: watch::Receiver<u64>,
    is_writable: Arc<AtomicBool>,
    /// Lets nobody else in until the last handle and the writer are gone.
    _lock: Arc<File>,
}

impl Store {
    /// Opens or creates the store. Blocks, at most for some seconds.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_on(path, |disk| disk)
    }

    fn open_on<D: Durability + 'static>(
        path: &Path,
        wrap: impl FnOnce(Disk) -> D,
    ) -> Result<Self, OpenError> {
        let io_error = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        let Opened {
            trees,
            installation,
            head,
            marker,
            lock,
        } = open::open_watched(path)?;
        let disk = wrap(Disk::open(path, trees.clone(), marker).map_err(io_error)?);
        let lock = Arc::new(lock);
        let durable = Arc::new(RwLock::new(()));
        let is_writable = Arc::new(AtomicBool::new(true));
        let (sender, revision) = watch::channel(head.revision);
        let (messages, queue) = mpsc::channel(QUEUE_MAX);
        let shared = Shared {
            durable: Arc::clone(&durable),
            revision: sender,
            is_writable: Arc::clone(&is_writable),
            _lock: Arc::clone(&lock),
        };
        let writer = Writer {
            trees: trees.clone(),
            head,
            sweep: Sweep::default(),
            disk,
            shared,
        };
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(io_error)?;
        Ok(Self {
            trees,
            installation,
            durable,
            messages,
            revision,
            is_writable,
            _lock: lock,
        })
    }

    /// The version that survives a crash.
    #[must_use]
    pub fn version(&self) -> StoreVersion {
        let Installation { cluster_id, epoch } = self.installation;
        StoreVersion {
            cluster_id,
            epoch,
            revision: *self.revision.borrow(),
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
