//! The change log: which things each revision changed, for as long as a data plane
//! may want to catch up by changes instead of by a whole snapshot.

use super::{
    CommitError, Error,
    change::LoggedChange,
    family::Family,
    record::{self, ChangeRecord},
    rows::{self, Order, Rows, Span},
    write_set::WriteSet,
};

/// How many revisions back the log reaches, at least.
pub(super) const CHANGE_LOG_REVISIONS: u64 = 10_000;

/// Adds what one revision changed, and drops the revision that is too old now.
pub(super) fn append(
    writes: &mut WriteSet<'_>,
    revision: u64,
    changes: &[LoggedChange],
) -> Result<(), CommitError> {
    for (place, change) in changes.iter().enumerate() {
        let row = record::encode_row(Family::ChangeLog, ChangeRecord::of(change), revision)?;
        writes.put(Family::ChangeLog, &key(revision, place), row)?;
    }
    if let Some(old) = revision.checked_sub(CHANGE_LOG_REVISIONS).filter(|old| *old > 0) {
        let rows = writes.scan_prefix(Family::ChangeLog, &old.to_be_bytes())?;
        rows.keys().for_each(|key| writes.delete(Family::ChangeLog, key));
    }
    Ok(())
}

/// What changed after a revision, oldest first; `None` if the log no longer, or not
/// yet, reaches there.
pub(super) fn read_since(
    rows: &dyn Rows,
    since: u64,
    current: u64,
) -> Result<Option<Vec<LoggedChange>>, Error> {
    if since > current || current - since > CHANGE_LOG_REVISIONS {
        return Ok(None);
    }
    let after = Span::from(&(since + 1).to_be_bytes());
    let rows = rows.scan(Family::ChangeLog, after, Order::Ascending);
    let changes: Result<_, Error> = rows.map(|row| decode(&row?.value)).collect();
    Ok(Some(changes?))
}

/// What one revision changed, in the order of the changes.
pub(super) fn of(rows: &dyn Rows, revision: u64) -> Result<Vec<LoggedChange>, Error> {
    let span = Span::prefix(&revision.to_be_bytes());
    rows.scan(Family::ChangeLog, span, Order::Ascending)
        .map(|row| decode(&row?.value))
        .collect()
}

fn decode(row: &[u8]) -> Result<LoggedChange, Error> {
    let (record, revision) = record::decode_row::<ChangeRecord>(Family::ChangeLog, row)?;
    record
        .into_change(revision)
        .map_err(|reason| Error::damaged(Family::ChangeLog, reason))
}

/// Whether the log ends where the store does.
pub(super) fn verify(rows: &dyn Rows, current: u64) -> Result<(), Error> {
    let last = rows::last(rows, Family::ChangeLog)?
        .and_then(|row| row.key.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)))
        .unwrap_or(0);
    if last == current {
        Ok(())
    } else {
        Err(Error::damaged(
            Family::ChangeLog,
            format!("it ends at revision {last}, not at {current}"),
        ))
    }
}

fn key(revision: u64, place: usize) -> Vec<u8> {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    [revision.to_be_bytes().as_slice(), place.to_be_bytes().as_slice()].concat()
}
