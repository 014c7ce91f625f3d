//! The promise that what was acknowledged survives: flush, then sync.
//!
//! sled's flush hands data to the operating system but does not sync it, so this
//! syncs the file through a descriptor of its own.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::io::Errno;

use super::{
    folder::{DATA_FILE, sync_dir},
    marker::Marker,
    trees::Trees,
};

/// sled's folder for oversized pages, below the store's.
const BLOBS_DIR: &str = "blobs";
/// Below this much free space nothing is written. sled takes space in segments of
/// 512 KiB and cannot recover from a write that fails, so it must not come to that.
const FREE_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// How long a sync waits for a descriptor, and how often it looks.
const DESCRIPTOR_WAIT_MAX: Duration = Duration::from_secs(60);
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(50);

pub(in crate::store) trait Durability: Send {
    /// Returns only when everything written so far survives a crash.
    fn make_durable(&mut self, revision: u64) -> Result<(), sled::Error>;
    fn has_space(&self) -> bool;
}

pub(in crate::store) struct Disk {
    trees: Trees,
    path: PathBuf,
    data: File,
    synced_blobs: BTreeSet<OsString>,
    marker: Marker,
}

impl Disk {
    pub(in crate::store) fn open(path: &Path, trees: Trees, marker: Marker) -> io::Result<Self> {
        let data = File::open(path.join(DATA_FILE))?;
        Ok(Self {
            trees,
            path: path.to_owned(),
            data,
            synced_blobs: BTreeSet::new(),
            marker,
        })
    }

    /// Large records side by side make a page of sled's large enough for a file of its
    /// own. sled never changes such a file, but does not sync it either.
    fn sync_blobs(&mut self) -> io::Result<()> {
        let dir = self.path.join(BLOBS_DIR);
        let names = patiently(|| fs::read_dir(&dir))?.map(|entry| Ok(entry?.file_name()));
        let present = names.collect::<io::Result<BTreeSet<OsString>>>()?;
        let mut synced_any = false;
        for name in present.difference(&self.synced_blobs) {
            match patiently(|| File::open(dir.join(name))) {
                Ok(blob) => blob.sync_data()?,
                // sled removes what it no longer needs.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            synced_any = true;
        }
        self.synced_blobs = present;
        if synced_any { sync_dir(&dir) } else { Ok(()) }
    }
}

/// Opens something, waiting for a descriptor if all are taken: what is written but not yet
/// synced must not be given up for the want of one.
fn patiently<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let started = Instant::now();
    loop {
        let opened = open();
        let errno = opened.as_ref().err().and_then(Errno::from_io_error);
        let is_short = matches!(errno, Some(Errno::MFILE | Errno::NFILE));
        if !is_short || started.elapsed() >= DESCRIPTOR_WAIT_MAX {
            return opened;
        }
        thread::sleep(DESCRIPTOR_PAUSE);
    }
}

impl Durability for Disk {
    fn make_durable(&mut self, revision: u64) -> Result<(), sled::Error> {
        self.trees.flush()?;
        self.sync_blobs()?;
        self.data.sync_data()?;
        self.marker.record(revision)?;
        Ok(())
    }

    fn has_space(&self) -> bool {
        let Ok(stat) = rustix::fs::statvfs(&self.path) else {
            return true;
        };
        stat.f_bavail.saturating_mul(stat.f_frsize) >= FREE_BYTES_MIN
    }
}

/// Whether an error means that there is no space, as opposed to anything worse.
pub(in crate::store) fn is_full(error: &sled::Error) -> bool {
    match error {
        sled::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ),
        sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Corruption { .. } => false,
    }
}
