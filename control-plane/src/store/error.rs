//! What can go wrong between us and what keeps the rows.

use std::{io, path::PathBuf};

use super::{Kind, family::Family};

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the store cannot be read: {0}")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("a record in {family} is damaged: {reason}")]
    Damaged { family: &'static str, reason: String },
    #[error("a record in {family} has version {found}, this build reads up to {known}")]
    NewerRecord {
        family: &'static str,
        found: u32,
        known: u32,
    },
    #[error("the database cannot be reached: {reason}")]
    Unavailable { reason: String },
    #[error("a read of the store was interrupted")]
    Interrupted,
}

impl Error {
    pub(super) fn unreadable(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unreadable(Box::new(source))
    }

    pub(super) fn damaged(family: Family, reason: impl Into<String>) -> Self {
        Self::Damaged {
            family: family.name(),
            reason: reason.into(),
        }
    }
}

/// Why a commit did not happen. Nothing of it is in the store then, except after
/// `Broken` and `Unknown`, when it may or may not be.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("{kind} {id} already exists")]
    Exists { kind: Kind, id: String },
    #[error("there is no {kind} {id}")]
    NotFound { kind: Kind, id: String },
    #[error("{kind} {id} was changed meanwhile, its revision is {current}")]
    Conflict { kind: Kind, id: String, current: u64 },
    #[error("the configuration was changed meanwhile, its revision is {current}")]
    Moved { current: u64 },
    #[error("at most {max} {what}; {remedy}")]
    TooMany {
        max: usize,
        what: &'static str,
        remedy: &'static str,
    },
    #[error("the session was refreshed or ended meanwhile")]
    SessionConflict,
    #[error("the last enabled admin must stay one")]
    LastAdmin,
    #[error("user {id} still owns API keys")]
    OwnsApiKeys { id: String },
    #[error("model rules lead to provider {provider}: {}", .rules.join(", "))]
    RulesLeadTo { provider: String, rules: Vec<String> },
    /// The same request was committed before; this is what it made.
    #[error("the request was already done")]
    Replayed { result: String },
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    #[error("a record in {family} has {bytes} bytes, at most {max} fit")]
    TooLarge {
        family: &'static str,
        bytes: usize,
        max: usize,
    },
    #[error("the disk of the store is full")]
    Full,
    #[error("the store takes no changes until the control plane restarts")]
    Broken,
    #[error("the database cannot be reached, and nothing was changed; try again")]
    Unavailable,
    #[error(
        "the database was lost while it committed: the change was made or not; look before you repeat it"
    )]
    Unknown,
    #[error("the store cannot be read")]
    Read(#[from] Error),
}

/// Why the store does not open. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by another control plane; stop that one or choose another DATABASE_PATH", .path.display())]
    InUse { path: PathBuf },
    #[error("{} cannot be used: {source}; check that it exists, is writable and has space", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the writer of the store cannot be started: {source}")]
    Thread { source: io::Error },
    #[error("DATABASE_URL cannot be used: {reason}")]
    DatabaseUrl { reason: String },
    #[error(
        "{database} cannot be used: {reason}; check DATABASE_URL, and that the server runs and lets this control plane in"
    )]
    Database { database: String, reason: String },
    #[error(
        "{place} has schema {found} and this build knows {known}: it was written by a newer version; \
         start that version, or restore a backup of this one"
    )]
    NewerSchema { place: String, found: u32, known: u32 },
    #[error(
        "{} should hold installation {cluster} but its data is gone; restore a backup. \
         It is never replaced by an empty one; to begin anew on purpose, move the folder away",
        .path.display()
    )]
    DataMissing { path: PathBuf, cluster: String },
    #[error(
        "{} goes up to revision {found}, but revision {acknowledged} had been acknowledged: changes are lost; \
         restore a backup, or delete {} to accept the loss",
        .path.display(), .marker.display()
    )]
    ChangesLost {
        path: PathBuf,
        marker: PathBuf,
        found: u64,
        acknowledged: u64,
    },
    #[error(
        "{} is damaged, so that nobody can tell whether the store is complete; \
         put it back, or delete it if you are sure that nothing else was touched",
        .marker.display()
    )]
    MarkerDamaged { marker: PathBuf },
    #[error("{place} holds an installation already; restore into an empty place, or move that one away")]
    NotEmpty { place: String },
    #[error("{place} is damaged ({reason}); restore a backup. Nothing in it was changed")]
    Damaged { place: String, reason: String },
    #[error("{} did not open within {seconds} s: it is damaged or its disk hangs; check the disk, or restore a backup", .path.display())]
    Hung { path: PathBuf, seconds: u64 },
}
