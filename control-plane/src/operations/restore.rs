//! `restore`: a new epoch of an installation, of a backup, in an empty place.
//!
//! The file is read twice: nothing is made of one that is not whole, or whose secrets the
//! master key does not open.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Error, keyring, say};
use crate::config::{Config, Database};
use crate::domain::audit::{Actor, AuditEntry, Origin, Summary};
use crate::store::{self, BackupError, Commit, Inspected, Sessions, Store};

pub(super) async fn restore(config: &Config, file: &Path, sessions: Sessions) -> Result<(), Error> {
    let inspected = inspect(file)?;
    keyring(config, inspected.key_check())?;
    let store = make(config, file, sessions).await?;
    let version = store.version();
    let summary = format!(
        "revision {} of build {}, {} rows, epoch {}",
        version.revision, inspected.header.build, inspected.rows, version.epoch
    );
    let audit = AuditEntry::new(
        Actor::System,
        "Restore",
        "installation",
        Origin::default(),
        SystemTime::now(),
    )
    .with_summaries(None, Some(Summary::new(summary.as_str())));
    store
        .commit(Commit {
            changes: Vec::new(),
            audit,
            idempotency: None,
        })
        .await?;
    store.close().await;
    say(&format!("restored {summary}"))
}

/// Whether a file is whole and sound.
pub(super) fn inspect(file: &Path) -> Result<Inspected, Error> {
    store::inspect(read(file)?).map_err(|source| of_file(file, source))
}

fn read(file: &Path) -> Result<BufReader<File>, Error> {
    let opened = File::open(file).map_err(|source| Error::File {
        path: file.to_owned(),
        source,
    });
    Ok(BufReader::new(opened?))
}

/// Damage is of the file; what does not open or cannot be written is not.
fn of_file(file: &Path, source: BackupError) -> Error {
    match source {
        BackupError::Open(error) => error.into(),
        source => Error::BackupFile {
            path: PathBuf::from(file),
            source,
        },
    }
}

async fn make(config: &Config, file: &Path, sessions: Sessions) -> Result<Store, Error> {
    let input = read(file)?;
    let make: Box<dyn FnOnce() -> Result<Store, BackupError> + Send> = match &config.store.database {
        Database::Folder(path) => {
            let path = path.clone();
            Box::new(move || Store::restore(&path, input, sessions))
        }
        Database::Postgres(url) => {
            let url = url.clone();
            Box::new(move || Store::restore_to_database(&url, input, sessions))
        }
    };
    let made = tokio::task::spawn_blocking(make).await;
    made.map_err(|_| Error::Interrupted)?
        .map_err(|source| of_file(file, source))
}
