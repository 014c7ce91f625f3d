//! How every service changes the store: one commit with its audit entry, counted
//! and told once.

use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::domain::audit::AuditEntry;
use crate::domain::user::UserId;
use crate::grpc::status::Error;
use crate::store::{Change, Commit, CommitError, Expect, Idempotency, Store};
use crate::telemetry::{CommitLabels, CommitResult, Metrics};

/// Longest idempotency key, in bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// How often an update that takes any revision is tried before its conflict is told.
const UPDATE_ATTEMPTS: u32 = 5;
/// The same of a change of the whole configuration, which conflicts with every other change: each try takes
/// some milliseconds, and others may change something all the time.
const WHOLE_UPDATE_ATTEMPTS: u32 = 50;

/// The writing side of the store; clones share it.
#[derive(Clone)]
pub(crate) struct Commits {
    store: Store,
    metrics: Metrics,
}

/// What became of a create that may be a repetition.
pub(crate) enum Created {
    New {
        revision: u64,
    },
    /// It was done before and made the thing with this id.
    Before {
        id: String,
    },
}

impl Commits {
    pub(crate) fn new(store: Store, metrics: Metrics) -> Self {
        Self { store, metrics }
    }

    /// Answers the revision with the changes in it.
    pub(crate) async fn commit(&self, changes: Vec<Change>, audit: AuditEntry) -> Result<u64, Error> {
        Ok(self.write(changes, audit, None).await?)
    }

    pub(crate) async fn create(
        &self,
        changes: Vec<Change>,
        audit: AuditEntry,
        idempotency: Option<Idempotency>,
    ) -> Result<Created, Error> {
        match self.write(changes, audit, idempotency).await {
            Ok(revision) => Ok(Created::New { revision }),
            Err(CommitError::Replayed { result }) => Ok(Created::Before { id: result }),
            Err(error) => Err(error.into()),
        }
    }

    /// The id of what the same request made before, if it did.
    pub(crate) async fn done_before(
        &self,
        idempotency: Option<&Idempotency>,
        now: SystemTime,
    ) -> Result<Option<String>, Error> {
        let Some(idempotency) = idempotency else {
            return Ok(None);
        };
        match self.store.check_not_done(idempotency.clone(), now).await {
            Ok(()) => Ok(None),
            Err(CommitError::Replayed { result }) => Ok(Some(result)),
            Err(error) => Err(error.into()),
        }
    }

    async fn write(
        &self,
        changes: Vec<Change>,
        audit: AuditEntry,
        idempotency: Option<Idempotency>,
    ) -> Result<u64, CommitError> {
        let (method, target) = (audit.method.clone(), audit.target.clone());
        let written = self
            .store
            .commit(Commit {
                changes,
                audit,
                idempotency,
            })
            .await;
        let result = match &written {
            Ok(_) => CommitResult::Committed,
            Err(error) => result_of(error),
        };
        self.metrics.commits.get_or_create(&CommitLabels { result }).inc();
        let revision = written?.revision;
        tracing::info!(method, target, revision, "change committed");
        Ok(revision)
    }
}

fn result_of(error: &CommitError) -> CommitResult {
    match error {
        CommitError::Exists { .. }
        | CommitError::NotFound { .. }
        | CommitError::Conflict { .. }
        | CommitError::Moved { .. }
        | CommitError::SessionConflict
        | CommitError::LastAdmin
        | CommitError::OwnsApiKeys { .. }
        | CommitError::RulesLeadTo { .. }
        | CommitError::TooMany { .. }
        | CommitError::Replayed { .. }
        | CommitError::IdempotencyMismatch
        | CommitError::TooLarge { .. } => CommitResult::Refused,
        CommitError::Full
        | CommitError::Broken
        | CommitError::Unavailable
        | CommitError::Unknown
        | CommitError::Read(_) => CommitResult::Failed,
    }
}

/// Does an update; if the caller takes any revision (0), again after a conflict.
pub(crate) async fn update<T, F>(asked_revision: u64, once: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    attempt(UPDATE_ATTEMPTS, asked_revision, once).await
}

/// The same for a change of the whole configuration.
pub(crate) async fn update_whole<T, F>(asked_revision: u64, once: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    attempt(WHOLE_UPDATE_ATTEMPTS, asked_revision, once).await
}

async fn attempt<T, F>(attempts: u32, asked_revision: u64, mut once: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 1..attempts {
        match once().await {
            Err(Error::Conflict { .. } | Error::Moved { .. }) if asked_revision == 0 => {}
            done => return done,
        }
    }
    once().await
}

/// The revision that a change must be based on: what the caller says, or else what
/// was read for it.
pub(crate) fn expect(asked_revision: u64, read_revision: u64) -> Expect {
    Expect::Revision(if asked_revision == 0 {
        read_revision
    } else {
        asked_revision
    })
}

/// For a change that does not depend on what is there.
pub(crate) fn expect_any(asked_revision: u64) -> Expect {
    if asked_revision == 0 {
        Expect::Present
    } else {
        Expect::Revision(asked_revision)
    }
}

/// What makes a repeated create harmless; `None` if the caller gave no key.
/// `request` is what the key stands for, without secrets.
pub(crate) fn idempotency(
    caller: UserId,
    key: &str,
    request: &impl prost::Message,
    result: &str,
) -> Result<Option<Idempotency>, Error> {
    if key.is_empty() {
        return Ok(None);
    }
    if key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        let reason = format!("must have at most {IDEMPOTENCY_KEY_BYTES_MAX} bytes");
        return Err(Error::invalid("idempotency_key", reason));
    }
    let fingerprint = Sha256::digest(request.encode_to_vec()).into();
    Ok(Some(Idempotency {
        caller,
        key: key.to_owned(),
        fingerprint,
        result: result.to_owned(),
    }))
}
