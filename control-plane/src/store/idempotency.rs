//! What was already done: a request that is repeated because its answer was lost
//! must not be done twice. Rows live for 24 hours and are dropped by later commits.

use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::{
    CommitError, Error, Idempotency, Store,
    family::Family,
    record::{self, IdempotencyRecord},
    rows::Rows,
    write_set::WriteSet,
};

/// How long a repetition is recognised.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How often outdated rows are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// Most rows that one commit drops.
const SWEEP_ROWS_MAX: usize = 1_000;

/// When outdated rows are dropped next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    due: SystemTime,
}

impl Default for Sweep {
    fn default() -> Self {
        Self {
            due: SystemTime::UNIX_EPOCH,
        }
    }
}

/// Fails if the request was done before; otherwise notes that it is done now.
pub(super) fn check_and_note(
    writes: &mut WriteSet<'_>,
    idempotency: &Idempotency,
    revision: u64,
    now: SystemTime,
) -> Result<(), CommitError> {
    check(writes, idempotency, now)?;
    let record = IdempotencyRecord::new(now, &idempotency.fingerprint, &idempotency.result);
    writes.put(
        Family::Idempotency,
        &row_key(idempotency),
        record::encode_row(Family::Idempotency, record, revision)?,
    )
}

fn check(rows: &dyn Rows, idempotency: &Idempotency, now: SystemTime) -> Result<(), CommitError> {
    let Some(row) = rows.get(Family::Idempotency, &row_key(idempotency))? else {
        return Ok(());
    };
    let (record, _) = record::decode_row::<IdempotencyRecord>(Family::Idempotency, &row)?;
    let is_live = !is_outdated(&record, now)?;
    match (is_live, record.is_for(&idempotency.fingerprint)) {
        (true, true) => Err(CommitError::Replayed {
            result: record.result,
        }),
        (true, false) => Err(CommitError::IdempotencyMismatch),
        (false, true | false) => Ok(()),
    }
}

/// Keys of different callers do not meet.
fn row_key(idempotency: &Idempotency) -> Vec<u8> {
    let hash = Sha256::new()
        .chain_update(idempotency.caller.as_bytes())
        .chain_update(&idempotency.key);
    hash.finalize().to_vec()
}

impl Store {
    /// Fails like a commit would if the request was done before: for who can tell only then
    /// whether it can be done.
    pub async fn check_not_done(&self, idempotency: Idempotency, now: SystemTime) -> Result<(), CommitError> {
        self.blocking(move |rows| Ok(check(rows, &idempotency, now)))
            .await?
    }
}

/// Drops outdated rows if it is time to.
pub(super) fn sweep(writes: &mut WriteSet<'_>, sweep: Sweep, now: SystemTime) -> Result<Sweep, Error> {
    if now < sweep.due {
        return Ok(sweep);
    }
    let mut outdated = Vec::new();
    for (key, row) in writes.scan_prefix(Family::Idempotency, b"")? {
        let (record, _) = record::decode_row::<IdempotencyRecord>(Family::Idempotency, &row)?;
        if is_outdated(&record, now)? && outdated.len() < SWEEP_ROWS_MAX {
            outdated.push(key);
        }
    }
    outdated
        .iter()
        .for_each(|key| writes.delete(Family::Idempotency, key));
    let is_done = outdated.len() < SWEEP_ROWS_MAX;
    Ok(if is_done {
        Sweep {
            due: now + SWEEP_EVERY,
        }
    } else {
        sweep
    })
}

fn is_outdated(record: &IdempotencyRecord, now: SystemTime) -> Result<bool, Error> {
    let created_at = record
        .created_at()
        .map_err(|reason| Error::damaged(Family::Idempotency, reason))?;
    Ok(now.duration_since(created_at).is_ok_and(|age| age > LIFETIME))
}
