//! The file of an identity: its owner's alone, and whole or not there.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::Identity;
use crate::clock::{from_unix_ms, unix_ms};

/// Newest form that this build reads and writes.
const VERSION: u32 = 1;
/// A larger file is none of ours.
const BYTES_MAX: u64 = 64 << 10;
/// Some two thousand years from now.
const LATEST_UNIX_MS: i64 = 1_000 << 36;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the identity of this node in {} cannot be used: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the identity of this node in {} is damaged or of a newer version; \
         delete it and give this node a new join token",
        .path.display()
    )]
    Damaged { path: PathBuf },
}

#[derive(Serialize, Deserialize)]
struct Record {
    v: u32,
    node_id: String,
    key: String,
    chain: Vec<String>,
    issued_unix_ms: i64,
    expires_unix_ms: i64,
    cache_secret: String,
}

/// `None`: this node has none yet.
pub(crate) fn read(path: &Path) -> Result<Option<Identity>, Error> {
    let failed = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let damaged = || Error::Damaged {
        path: path.to_owned(),
    };
    let bytes = match fs::metadata(path) {
        Ok(file) if file.len() > BYTES_MAX => return Err(damaged()),
        Ok(_) => Zeroizing::new(fs::read(path).map_err(failed)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let record: Record = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    from_record(record).ok_or_else(damaged).map(Some)
}

/// Puts it in the place of what was there. It survives a crash.
pub(crate) fn write(path: &Path, identity: &Identity) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        let mut record = to_record(identity);
        let bytes = serde_json::to_vec(&record).map(Zeroizing::new);
        record.key.zeroize();
        record.cache_secret.zeroize();
        let bytes = bytes?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let new = path.with_added_extension("new");
        // What a crash has left may have other permissions.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

fn to_record(identity: &Identity) -> Record {
    let Identity {
        node_id,
        key,
        chain,
        issued_at,
        expires_at,
        cache_secret,
    } = identity;
    Record {
        v: VERSION,
        node_id: node_id.clone(),
        key: to_hex(key),
        chain: chain.iter().map(|certificate| to_hex(certificate)).collect(),
        issued_unix_ms: unix_ms(*issued_at),
        expires_unix_ms: unix_ms(*expires_at),
        cache_secret: cache_secret.expose_secret().to_owned(),
    }
}

fn from_record(record: Record) -> Option<Identity> {
    let Record {
        v,
        node_id,
        key,
        chain,
        issued_unix_ms,
        expires_unix_ms,
        cache_secret,
    } = record;
    let (key, cache_secret) = (Zeroizing::new(key), Zeroizing::new(cache_secret));
    let chain: Option<Vec<_>> = chain.iter().map(|text| from_hex(text)).collect();
    let is_sound = v == VERSION && !cache_secret.is_empty() && !node_id.is_empty();
    is_sound.then_some(())?;
    Some(Identity {
        node_id,
        key: Zeroizing::new(from_hex(&key)?),
        chain: chain.filter(|chain| !chain.is_empty())?,
        issued_at: time(issued_unix_ms)?,
        expires_at: time(expires_unix_ms)?,
        cache_secret: cache_secret.as_str().into(),
    })
}

/// Whether a certificate may be issued or end then: such times can be shown, and added to.
pub(super) fn is_plausible(unix_ms: i64) -> bool {
    (0..LATEST_UNIX_MS).contains(&unix_ms)
}

fn time(unix_ms: i64) -> Option<SystemTime> {
    is_plausible(unix_ms).then(|| from_unix_ms(unix_ms))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}
