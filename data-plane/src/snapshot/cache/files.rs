//! The files of a cache: two generations of a snapshot, and the word that the newer one
//! was still the newest.
//!
//! A file is complete and on disk before it has its name, and it never replaces the
//! newest good one: a crash at any point leaves at least one generation.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Where a generation lies; a new one takes the place of the older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    A,
    B,
}

impl Slot {
    pub(crate) const ALL: [Self; 2] = [Self::A, Self::B];

    pub(super) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::A => "a.snapshot",
            Self::B => "b.snapshot",
        }
    }
}

/// The folder of a cache. It is made when something is written.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    folder: PathBuf,
}

const CONFIRMATION: &str = "confirmation";

impl Files {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn slot(&self, slot: Slot) -> PathBuf {
        self.folder.join(slot.name())
    }

    pub(crate) fn confirmation(&self) -> PathBuf {
        self.folder.join(CONFIRMATION)
    }

    /// Puts a whole file in its place.
    pub(super) fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        let new = path.with_added_extension("new");
        let written = write_whole(&new, content).and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            // On a full disk the half of a file is in the way of everybody; there may be none.
            let _ = fs::remove_file(&new);
        }
        written?;
        File::open(&self.folder)?.sync_all()
    }
}

fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A whole file of at most `bytes_max`; `None`: there is no such file.
pub(super) fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    let mut bounded = file.take(bytes_max.saturating_add(1));
    bounded.read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large"));
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_and_whole_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path().join("deep/er"));
        let path = files.slot(Slot::A);
        assert!(read(&path, 10).unwrap().is_none());
        files.write(&path, b"first").unwrap();
        files.write(&path, b"second").unwrap();
        assert_eq!(read(&path, 10).unwrap().unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(files.folder()).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(fs::read_dir(files.folder()).unwrap().count(), 1);
        assert!(read(&path, 5).is_err(), "too large");
        assert!(read(dir.path(), 5).is_err(), "a folder is no file");
    }

    #[test]
    fn what_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path().to_owned());
        let path = files.slot(Slot::B);
        // A folder with something in it cannot be replaced by a file.
        fs::create_dir_all(path.join("in the way")).unwrap();
        assert!(files.write(&path, b"content").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
