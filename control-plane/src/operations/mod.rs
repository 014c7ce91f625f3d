//! What an operator does with a whole installation, from the command line: copies and the
//! way back, checks, a way in, another master key.
//!
//! All of it works on the store itself. Beside a control plane that runs on a folder only
//! `backup` works, by asking that one; on PostgreSQL all of it does but another master key.

mod backup;
mod import;
mod reset_admin;
mod restore;
mod rotate;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;

use secrecy::SecretString;

use crate::auth::password;
use crate::config::{Command, Config};
use crate::domain::{FieldViolation, Invalid};
use crate::secrets::{Keyring, MasterKeyError, SealError, SecretFileError};
use crate::store::{self, BackupError, CommitError, OpenError, Store};
use crate::{bootstrap, master_key_source, open_store, telemetry};

/// What an operation reads that is no part of the configuration.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the store did not open: the task was interrupted")]
    Interrupted,
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {source}", .path.display())]
    BackupFile { path: PathBuf, source: BackupError },
    #[error("the answer cannot be written: {0}")]
    Output(#[source] io::Error),
    #[error("the control plane runs and has the store: {0}")]
    Running(String),
    #[error(transparent)]
    Unlock(#[from] bootstrap::Error),
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    #[error(transparent)]
    SecretFile(#[from] SecretFileError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Password(#[from] password::Error),
    #[error("ADMIN_PASSWORD: {0}")]
    WeakPassword(#[source] Invalid),
    #[error("{0}")]
    Invalid(#[from] Invalid),
    #[error("{} cannot be imported:{}", .path.display(), listed(.violations))]
    Import {
        path: PathBuf,
        violations: Vec<FieldViolation>,
    },
    #[error(
        "{}: neither an installation that was exported nor a provider.json: {reason}", .path.display()
    )]
    Neither { path: PathBuf, reason: String },
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Read(#[from] store::Error),
    #[error("{0}")]
    Refused(String),
}

fn listed(violations: &[FieldViolation]) -> String {
    violations
        .iter()
        .map(|violation| format!("\n  - {violation}"))
        .collect()
}

/// Does one of them. What is of interest goes to standard output, one line.
pub async fn run(
    command: Command,
    config: Config,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(), Error> {
    telemetry::start_logs(config.log_level, config.log_format);
    match command {
        // Served elsewhere.
        Command::Serve => Ok(()),
        Command::Backup { file } | Command::Export { file } => {
            backup::backup(&config, &file, &environment).await
        }
        Command::Restore { file } => restore::restore(&config, &file, store::Sessions::End).await,
        Command::Import { file } => import::import(&config, &file, &environment).await,
        Command::Verify { file } => verify::verify(&config, file.as_deref()).await,
        Command::ResetAdmin => reset_admin::reset_admin(&config, &environment).await,
        Command::RotateMasterKey => rotate::rotate(&config, &environment).await,
    }
}

async fn open(config: &Config) -> Result<Store, Error> {
    match open_store(&config.store.database).await {
        Ok(store) => Ok(store),
        Err(crate::Error::Open(error)) => Err(error.into()),
        Err(_) => Err(Error::Interrupted),
    }
}

/// The keyring of what was sealed before.
fn keyring(config: &Config, key_check: Option<&[u8]>) -> Result<Keyring, Error> {
    Ok(bootstrap::open_keyring(
        &master_key_source(&config.store),
        key_check,
    )?)
}

fn say(line: &str) -> Result<(), Error> {
    writeln!(io::stdout(), "{line}").map_err(Error::Output)
}

fn secret(environment: Environment<'_>, name: &str) -> Option<SecretString> {
    environment(name)
        .filter(|value| !value.is_empty())
        .map(SecretString::from)
}
