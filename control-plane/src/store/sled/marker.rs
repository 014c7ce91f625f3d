//! A small file beside sled's own that says what must be found in them: which
//! installation, and up to which revision changes were acknowledged. It is what
//! keeps a damaged or emptied store from starting as if nothing had ever been in it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::folder::sync_dir;

const FILE: &str = "installation";
/// The file as text. Its length never changes, so that it can be overwritten in place.
const TITLE: &str = "bridge-control-plane store";

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Mark {
    pub(in crate::store) cluster_id: [u8; 16],
    pub(in crate::store) revision: u64,
}

pub(in crate::store) struct Marker {
    file: File,
    cluster_id: [u8; 16],
}

pub(in crate::store) fn path(store: &Path) -> PathBuf {
    store.join(FILE)
}

/// `None`: there is no such file. `InvalidData`: there is one, but not ours.
pub(in crate::store) fn read(store: &Path) -> io::Result<Option<Mark>> {
    let text = match fs::read_to_string(path(store)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mark = parse(&text);
    mark.map(Some)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file `installation` is damaged"))
}

impl Marker {
    /// Creates or replaces the file; it is whole or absent at any moment.
    pub(in crate::store) fn write(store: &Path, mark: Mark) -> io::Result<Self> {
        let new = store.join(format!("{FILE}.new"));
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(format(mark).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path(store))?;
        sync_dir(store)?;
        Ok(Self {
            file,
            cluster_id: mark.cluster_id,
        })
    }

    /// Notes that changes up to this revision were acknowledged. Not synced: it need
    /// not survive more than the process, the store itself does.
    pub(in crate::store) fn record(&mut self, revision: u64) -> io::Result<()> {
        self.file.write_all_at(
            format(Mark {
                cluster_id: self.cluster_id,
                revision,
            })
            .as_bytes(),
            0,
        )
    }
}

pub(in crate::store) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn format(mark: Mark) -> String {
    let Mark { cluster_id, revision } = mark;
    format!("{TITLE}\ncluster {}\nrevision {revision:020}\n", hex(&cluster_id))
}

fn parse(text: &str) -> Option<Mark> {
    let mut lines = text.lines();
    let (title, cluster, revision) = (lines.next()?, lines.next()?, lines.next()?);
    if title != TITLE {
        return None;
    }
    let cluster = u128::from_str_radix(cluster.strip_prefix("cluster ")?, 16).ok()?;
    let revision = revision.strip_prefix("revision ")?.parse().ok()?;
    let mark = Mark {
        cluster_id: cluster.to_be_bytes(),
        revision,
    };
    (format(mark) == text).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_overwritten_in_place() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let mark = Mark {
            cluster_id: [7; 16],
            revision: 3,
        };
        let mut marker = Marker::write(dir.path(), mark).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(mark));
        marker.record(u64::MAX).unwrap();
        assert_eq!(
            read(dir.path()).unwrap(),
            Some(Mark {
                revision: u64::MAX,
                ..mark
            })
        );
    }

    #[test]
    fn any_changed_byte_of_a_mark_is_noticed_or_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let mark = Mark {
            cluster_id: [0xab; 16],
            revision: 77,
        };
        let text = format(mark);
        for place in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[place] = b'~';
            fs::write(path(dir.path()), bytes).unwrap();
            assert!(read(dir.path()).is_err(), "byte {place}");
        }
        fs::write(path(dir.path()), &text[..20]).unwrap();
        assert!(read(dir.path()).is_err());
    }
}
