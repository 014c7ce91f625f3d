//! The last snapshot that was in force, on disk: with it a node starts without the
//! control plane.
//!
//! What is kept are the resources as they were received, so that a newer build finds
//! what this one did not know. They are sealed with a key that is made of the node's own
//! secret. There are two generations: whatever is wrong with the newer one, the older one
//! is there, and if that is damaged too the node waits for the control plane. Reading
//! judges a file as strictly as a stream. A failure to write is a warning and nothing
//! more: serving never depends on a disk.

mod envelope;
mod files;
mod keeper;
mod restore;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use bridge_proto::fleet::v1::SnapshotChunk;
use prost::Message;
use zeroize::Zeroizing;

use self::envelope::{Content, Damage, Header, Sealer};
use super::{
    Snapshot, StateHash, Version,
    decode::{self, Received},
    token::{self, TokenError},
};
use crate::config::{SnapshotCache, TokenSource};

pub(crate) use files::{Files, Slot};
pub(crate) use keeper::{Inbox, Keeper};
pub(crate) use restore::Restored;

/// More than a node takes from a stream is not read from a disk either.
const CONTENT_BYTES_MAX: usize = super::SNAPSHOT_BYTES_MAX + (16 << 20);
const FILE_BYTES_MAX: u64 = (CONTENT_BYTES_MAX + envelope::OVERHEAD_BYTES_MAX) as u64;
const STATE_HASH_BYTES: usize = size_of::<StateHash>();

/// Where a node keeps its snapshot, and the secret that it is sealed with.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    files: Option<Files>,
    /// A file of another node's cache, for a node that has none yet.
    bootstrap: Option<PathBuf>,
    token: TokenSource,
}

/// A snapshot that was read from disk.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) snapshot: Snapshot,
    pub(crate) generation: u64,
    pub(crate) confirmed_unix_ms: i64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error(transparent)]
    Damaged(#[from] Damage),
    #[error("its content is not what its first line says")]
    Content,
    #[error("its content is refused: {}", .0.first().map_or("", |first| &first.reason))]
    Refused(Vec<decode::Refusal>),
    #[error("reading it panicked")]
    Panicked,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Seal(#[from] envelope::CannotSeal),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Where the next generation goes.
#[derive(Debug, Clone, Copy)]
struct Next {
    slot: Slot,
    generation: u64,
}

/// What was found in one file.
pub(crate) type Found = Result<Option<Kept>, Unusable>;

impl Cache {
    pub(crate) fn new(place: SnapshotCache, token: TokenSource) -> Self {
        let SnapshotCache { folder, bootstrap } = place;
        Self {
            files: folder.map(Files::new),
            bootstrap,
            token,
        }
    }

    pub(crate) fn files(&self) -> Option<&Files> {
        self.files.as_ref()
    }

    pub(crate) fn bootstrap(&self) -> Option<&Path> {
        self.bootstrap.as_deref()
    }

    pub(crate) fn sealer(&self) -> Result<Sealer, TokenError> {
        token::read(&self.token).map(|token| Sealer::new(&token))
    }
}

/// Reads both generations.
pub(crate) fn generations(files: &Files, sealer: &Sealer) -> [(Slot, Found); 2] {
    let confirmation = confirmation(files, sealer);
    Slot::ALL.map(|slot| {
        let mut found = read(&files.slot(slot), sealer);
        if let (Ok(Some(kept)), Some((version, unix_ms))) = (&mut found, confirmation)
            && kept.snapshot.version == version
        {
            kept.confirmed_unix_ms = kept.confirmed_unix_ms.max(unix_ms);
        }
        (slot, found)
    })
}

/// Reads one file, whatever is in it.
pub(crate) fn read(path: &Path, sealer: &Sealer) -> Found {
    let Some(file) = files::read(path, FILE_BYTES_MAX)? else {
        return Ok(None);
    };
    // Nothing of a file that made it panic is used.
    catch_unwind(AssertUnwindSafe(|| parse(&file, sealer)))
        .unwrap_or(Err(Unusable::Panicked))
        .map(Some)
}

fn parse(file: &[u8], sealer: &Sealer) -> Result<Kept, Unusable> {
    let (header, content) = sealer.open(Content::Snapshot, file)?;
    let (state_hash, resources) = content
        .split_first_chunk::<STATE_HASH_BYTES>()
        .ok_or(Unusable::Content)?;
    let chunk = SnapshotChunk::decode(resources).map_err(|_| Unusable::Content)?;
    if chunk.resources.len() as u64 != header.resources {
        return Err(Unusable::Content);
    }
    let received = Received {
        version: header.version(),
        resources: chunk.resources,
        state_hash: state_hash.to_vec(),
        // It was in force, so somebody meant it.
        allow_empty: true,
    };
    let snapshot = decode::decode(&received, None, false).map_err(Unusable::Refused)?;
    Ok(Kept {
        snapshot,
        generation: header.generation,
        confirmed_unix_ms: header.confirmed_unix_ms,
    })
}

/// The version that was confirmed last, and when. A damaged file only makes what is kept
/// look older than it is.
fn confirmation(files: &Files, sealer: &Sealer) -> Option<(Version, i64)> {
    let file = files::read(&files.confirmation(), envelope::OVERHEAD_BYTES_MAX as u64);
    let (header, _) = sealer.open(Content::Confirmation, &file.ok()??).ok()?;
    Some((header.version(), header.confirmed_unix_ms))
}

/// The newest good generation does not get overwritten.
fn next(files: &Files, sealer: &Sealer) -> Next {
    let kept = |(slot, found): (Slot, Found)| Some((found.ok()??.generation, slot));
    let newest = generations(files, sealer)
        .into_iter()
        .filter_map(kept)
        .max_by_key(|(generation, _)| *generation);
    newest.map_or(
        Next {
            slot: Slot::A,
            generation: 1,
        },
        |(generation, slot)| Next { slot, generation }.follow(),
    )
}

impl Next {
    /// After this one was written.
    fn follow(self) -> Self {
        Self {
            slot: self.slot.other(),
            generation: self.generation.saturating_add(1),
        }
    }
}

fn write(
    files: &Files,
    sealer: &Sealer,
    next: Next,
    received: &Received,
    confirmed: i64,
) -> Result<(), WriteError> {
    let mut content = Zeroizing::new(received.state_hash.clone());
    let chunk = SnapshotChunk {
        resources: received.resources.clone(),
    };
    content.reserve_exact(chunk.encoded_len() + envelope::OVERHEAD_BYTES_MAX);
    // Its only failure is a buffer that does not grow.
    let _ = chunk.encode(&mut *content);
    let header = Header {
        generation: next.generation,
        resources: received.resources.len() as u64,
        ..Header::new(Content::Snapshot, received.version, confirmed)
    };
    let file = sealer.seal(&header, content)?;
    Ok(files.write(&files.slot(next.slot), &file)?)
}

fn confirm(files: &Files, sealer: &Sealer, version: Version, confirmed: i64) -> Result<(), WriteError> {
    let header = Header::new(Content::Confirmation, version, confirmed);
    let file = sealer.seal(&header, Zeroizing::default())?;
    Ok(files.write(&files.confirmation(), &file)?)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
pub(crate) mod tests;
