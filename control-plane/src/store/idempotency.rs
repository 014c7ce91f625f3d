//! What was already done: a request that is repeated because its answer was lost
//! must not be done twice. Rows live for 24 hours and are dropped by later commits.

use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::{
    CommitError, Error, Idempotency,
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
    let Idempotency {
        caller,
        key,
        fingerprint,
        result,
    } = idempotency;
    let row_key = Sha256::new()
        .chain_update(caller.as_bytes())
        .chain_update(key)
        .finalize();
    if let Some(row) = writes.get(Family::Idempotency, &row_key)? {
        let (record, _) = record::decode_row::<IdempotencyRecord>(Family::Idempotency, &row)?;
        let is_live = !is_outdated(&record, now)?;
        match (is_live, record.is_for(fingerprint)) {
            (true, true) => {
                return Err(CommitError::Replayed {
                    result: record.result,
                });
            }
            (true, false) => return Err(CommitError::IdempotencyMismatch),
            (false, true | false) => {}
        }
    }
    let record = IdempotencyRecord::new(now, fingerprint, result);
    writes.put(
        Family::Idempotency,
        &row_key,
        record::encode_row(Family::Idempotency, record, revision)?,
    )
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
