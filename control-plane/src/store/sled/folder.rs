//! The folder of the store, as opening, marking and syncing see it.

use std::{fs::File, io, path::Path};

/// sled's data file in it.
pub(in crate::store) const DATA_FILE: &str = "db";

/// Makes names in a folder survive a crash.
pub(in crate::store) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
