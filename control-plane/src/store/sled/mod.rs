//! The store in a folder of this machine. The only module that touches sled.
//!
//! A batch is one sled transaction, then one flush and one sync. Until then readers
//! wait, so that nobody sees what would not survive a crash.

pub(super) mod disk;
pub(super) mod folder;
pub(super) mod marker;
pub(super) mod open;
pub(super) mod trees;

use std::{fs::File, path::Path, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::{OwnedRwLockReadGuard, RwLock, RwLockWriteGuard, watch};

use super::{
    Error, OpenError,
    backend::{Alone, Backend, Batch, Beside, Ledger, Parts, View, WriteError},
    family::Family,
    head::Installation,
    rows::{Order, RowIter, Rows, Span},
    write_set::Writes,
};

use open::Opened;

use disk::{Disk, Durability};
use trees::Trees;

/// A folder that is open for reading.
struct Folder {
    trees: Trees,
    /// Held for writing while there are changes that would not survive a crash.
    durable: Arc<RwLock<()>>,
    revision: watch::Receiver<u64>,
    /// Lets nobody else in until reader and writer are gone.
    _lock: Arc<File>,
}

/// Its writer.
struct FolderLedger<D> {
    trees: Trees,
    durable: Arc<RwLock<()>>,
    disk: D,
    revision: watch::Sender<u64>,
    _lock: Arc<File>,
}

/// Opens or creates the folder. Blocks, at most for some seconds.
pub(super) fn open<D: Durability + 'static>(
    path: &Path,
    wrap: impl FnOnce(Disk) -> D,
) -> Result<Parts, OpenError> {
    parts(path, open::open_watched(path, None)?, wrap)
}

/// Makes a folder of an installation that exists already, where none is.
pub(super) fn create(path: &Path, installation: Installation) -> Result<Parts, OpenError> {
    parts(path, open::open_watched(path, Some(installation))?, |disk| disk)
}

fn parts<D: Durability + 'static>(
    path: &Path,
    opened: Opened,
    wrap: impl FnOnce(Disk) -> D,
) -> Result<Parts, OpenError> {
    let Opened {
        trees,
        installation,
        head,
        marker,
        lock,
    } = opened;
    let disk = Disk::open(path, trees.clone(), marker).map_err(|source| OpenError::Io {
        path: path.to_owned(),
        source,
    })?;
    let (durable, lock) = (Arc::new(RwLock::new(())), Arc::new(lock));
    let (sender, revision) = watch::channel(head.revision);
    let folder = Folder {
        trees: trees.clone(),
        durable: Arc::clone(&durable),
        revision: revision.clone(),
        _lock: Arc::clone(&lock),
    };
    let ledger = FolderLedger {
        trees,
        durable,
        disk: wrap(disk),
        revision: sender,
        _lock: lock,
    };
    Ok(Parts {
        backend: Arc::new(folder),
        ledger: Box::new(ledger),
        installation,
        revision,
    })
}

// === impl Folder ===

impl Backend for Folder {
    fn get<'a>(&'a self, family: Family, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>> {
        async move {
            let _durable = self.durable.read().await;
            self.trees.get(family, key)
        }
        .boxed()
    }

    /// Nobody else can have opened the folder.
    fn alone(&self) -> BoxFuture<'_, Result<Alone, Error>> {
        async { Ok(Alone { _held: None }) }.boxed()
    }

    fn beside(&self) -> Option<&dyn Beside> {
        None
    }

    fn view(&self) -> BoxFuture<'_, Result<View, Error>> {
        async move {
            let durable = Arc::clone(&self.durable).read_owned().await;
            Ok(View {
                revision: *self.revision.borrow(),
                rows: Box::new(Moment {
                    trees: self.trees.clone(),
                    _durable: durable,
                }),
            })
        }
        .boxed()
    }
}

/// The writer waits until it is dropped.
struct Moment {
    trees: Trees,
    _durable: OwnedRwLockReadGuard<()>,
}

impl Rows for Moment {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.trees.get(family, key)
    }

    fn scan(&self, family: Family, span: Span, order: Order) -> RowIter<'_> {
        self.trees.scan(family, span, order)
    }
}

// === impl FolderLedger ===

impl<D: Durability> Ledger for FolderLedger<D> {
    fn begin(&mut self) -> Result<Box<dyn Batch + '_>, WriteError> {
        let Self {
            trees,
            durable,
            disk,
            revision,
            _lock: _,
        } = self;
        if !disk.has_space() {
            return Err(WriteError::Full);
        }
        Ok(Box::new(FolderBatch {
            trees,
            _not_yet_durable: durable.blocking_write(),
            disk,
            told: revision,
        }))
    }
}

struct FolderBatch<'a, D> {
    trees: &'a Trees,
    _not_yet_durable: RwLockWriteGuard<'a, ()>,
    disk: &'a mut D,
    told: &'a watch::Sender<u64>,
}

impl<D: Durability> Batch for FolderBatch<'_, D> {
    fn rows(&self) -> &dyn Rows {
        self.trees
    }

    fn write(self: Box<Self>, writes: Writes, revision: u64) -> Result<(), WriteError> {
        let broken = |error: sled::Error| WriteError::Broken {
            reason: error.to_string(),
            is_full: disk::is_full(&error),
        };
        if writes.is_empty() {
            return Ok(());
        }
        self.trees.apply(&writes).map_err(broken)?;
        self.disk.make_durable(revision).map_err(broken)?;
        self.told
            .send_if_modified(|told| std::mem::replace(told, revision) != revision);
        Ok(())
    }
}
