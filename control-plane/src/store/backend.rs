//! What the store needs of whatever keeps its rows: moments to read, and one atomic
//! write against a state that nobody else changes meanwhile.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Error, family::Family, head::Installation, rows::Rows, write_set::Writes};

/// Keeps rows for readers. It also tells the revision as it grows, through the
/// channel that it was opened with: never before what it stands for is durable.
pub(super) trait Backend: Send + Sync {
    /// One row as it is, of a state that survives a crash.
    fn get<'a>(&'a self, family: Family, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>>;

    /// Waits until no other control plane sets up the same store.
    fn alone(&self) -> BoxFuture<'_, Result<Alone, Error>>;

    /// `None`: nobody else can be there to read it.
    fn beside(&self) -> Option<&dyn Beside>;

    /// A moment of the store that survives a crash.
    fn view(&self) -> BoxFuture<'_, Result<View, Error>>;
}

/// Rows that are written without the head: they belong to no revision, no batch reads
/// them, and the last one who writes a row wins.
pub(super) trait Beside: Send + Sync {
    fn put(&self, family: Family, key: Vec<u8>, value: Vec<u8>) -> BoxFuture<'_, Result<(), Error>>;
    fn delete(&self, family: Family, key: Vec<u8>) -> BoxFuture<'_, Result<(), Error>>;
    /// Told whenever anybody may have written some.
    fn told(&self) -> watch::Receiver<()>;
}

/// Others wait for as long as this lives.
pub struct Alone {
    pub(super) _held: Option<Box<dyn Send>>,
}

/// What was opened and found whole.
pub(super) struct Parts {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) ledger: Box<dyn Ledger>,
    pub(super) installation: Installation,
    /// As it grows.
    pub(super) revision: watch::Receiver<u64>,
}

/// A moment of the store.
pub(super) struct View {
    pub(super) rows: Box<dyn Rows + Send>,
    pub(super) revision: u64,
}

/// Writes; the one writer of this process has it. All of it blocks.
pub(super) trait Ledger: Send {
    /// Keeps everybody else from writing until the batch is written or dropped.
    fn begin(&mut self) -> Result<Box<dyn Batch + '_>, WriteError>;
}

/// The store as it is before a write, and the right to make it.
pub(super) trait Batch {
    fn rows(&self) -> &dyn Rows;

    /// Writes all of it or nothing, and lets others write. `Ok` means that it survives a crash, is read by
    /// everybody, and the revision is told.
    fn write(self: Box<Self>, writes: Writes, revision: u64) -> Result<(), WriteError>;
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// Nothing was written; there may be space later.
    #[error("there is no space")]
    Full,
    /// Nothing was written, because what is there could not be read.
    #[error("{reason}")]
    Unread { reason: String },
    /// Nothing was written; it may work if everything is done again from the start.
    #[error("{reason}")]
    NotNow { reason: String },
    /// It may be there or not; what is written later is not affected.
    #[error("{reason}")]
    Unknown { reason: String },
    /// Nothing is written any more.
    #[error("the store takes no more changes")]
    Closed,
    /// It may be there or not, and nothing that is written later can be trusted.
    #[error("{reason}")]
    Broken { reason: String, is_full: bool },
}
