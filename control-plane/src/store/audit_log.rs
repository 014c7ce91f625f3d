//! The audit log: one row per commit, each naming the hash of the one before it.
//! The last hash is in the head, so that neither a changed nor a missing row, the
//! last one included, goes unnoticed.

use sha2::{Digest, Sha256};

use super::{
    CommitError, Error,
    family::Family,
    record::{self, AuditRecord},
    rows::{self, Order, Row, Rows, Span},
    write_set::WriteSet,
};
use crate::domain::audit::AuditEntry;

/// The newest row: its number and its hash. Sequence 0: there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AuditHead {
    pub(super) sequence: u64,
    pub(super) hash: [u8; 32],
}

/// A row of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// 1, 2, 3 … without gaps.
    pub sequence: u64,
    /// The store's revision with the change in it.
    pub revision: u64,
    pub entry: AuditEntry,
    /// SHA-256 over the row, which names that of the row before.
    pub hash: [u8; 32],
}

/// Which rows are asked for, the newest first.
#[derive(Debug, Clone, Copy)]
pub struct AuditAsk {
    /// Only rows with a lower sequence.
    pub below: Option<u64>,
    /// How many are wanted …
    pub rows_max: usize,
    /// … and how many are looked at for them.
    pub looked_at_max: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditPage {
    pub rows: Vec<AuditRow>,
    /// Where to go on; `None`: there is no more.
    pub below: Option<u64>,
}

pub(super) fn append(
    writes: &mut WriteSet<'_>,
    head: AuditHead,
    entry: &AuditEntry,
    revision: u64,
) -> Result<AuditHead, CommitError> {
    let sequence = head.sequence + 1;
    let row = record::encode_row(Family::Audit, AuditRecord::of(entry, &head.hash), revision)?;
    let hash = sha256(&row);
    writes.put(Family::Audit, &sequence.to_be_bytes(), row)?;
    Ok(AuditHead { sequence, hash })
}

/// The rows after a sequence, oldest first.
pub(super) fn read(rows: &dyn Rows, after: u64, limit: usize) -> Result<Vec<AuditRow>, Error> {
    let from = Span::from(&after.saturating_add(1).to_be_bytes());
    let rows = rows.scan(Family::Audit, from, Order::Ascending).take(limit);
    rows.map(|row| audit_row(&row?)).collect()
}

/// The rows below a sequence, newest first; without one, from the last.
pub(super) fn backwards(
    rows: &dyn Rows,
    below: Option<u64>,
) -> impl Iterator<Item = Result<AuditRow, Error>> + '_ {
    let span = Span {
        below: below.map(|sequence| sequence.to_be_bytes().to_vec()),
        ..Span::all()
    };
    rows.scan(Family::Audit, span, Order::Descending)
        .map(|row| audit_row(&row?))
}

fn audit_row(Row { key, value }: &Row) -> Result<AuditRow, Error> {
    let (sequence, revision, entry, _) = decode(key, value)?;
    Ok(AuditRow {
        sequence,
        revision,
        entry,
        hash: sha256(value),
    })
}

/// Rows that are wanted, newest first.
pub(super) fn read_back(
    rows: &dyn Rows,
    ask: AuditAsk,
    is_wanted: impl Fn(&AuditRow) -> bool,
) -> Result<AuditPage, Error> {
    let AuditAsk {
        below,
        rows_max,
        looked_at_max,
    } = ask;
    let mut page = AuditPage::default();
    for row in backwards(rows, below).take(looked_at_max) {
        let row = row?;
        // There is a row before every one but the first.
        page.below = Some(row.sequence).filter(|sequence| *sequence > 1);
        if is_wanted(&row) {
            page.rows.push(row);
        }
        if page.rows.len() == rows_max {
            break;
        }
    }
    Ok(page)
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(u64, u64, AuditEntry, [u8; 32]), Error> {
    let damaged = |reason: String| Error::damaged(Family::Audit, reason);
    let sequence = <[u8; 8]>::try_from(key).map_err(|_| damaged("a sequence is not a number".to_owned()))?;
    let (row, revision) = record::decode_row::<AuditRecord>(Family::Audit, value)?;
    let (entry, previous) = row.into_entry().map_err(damaged)?;
    Ok((u64::from_be_bytes(sequence), revision, entry, previous))
}

/// Walks back from the head over at most `rows_max` rows and compares every link.
pub(super) fn verify(rows: &dyn Rows, head: AuditHead, rows_max: usize) -> Result<(), Error> {
    let broken =
        |sequence: u64| Error::damaged(Family::Audit, format!("row {sequence} is missing or was changed"));
    let AuditHead {
        mut sequence,
        mut hash,
    } = head;
    let last = rows::last(rows, Family::Audit)?;
    if last.is_some_and(|row| *row.key > sequence.to_be_bytes()[..]) {
        return Err(broken(sequence + 1));
    }
    for _ in 0..rows_max {
        if sequence == 0 {
            return Ok(());
        }
        let key = sequence.to_be_bytes();
        let Some(row) = rows.get(Family::Audit, &key)? else {
            return Err(broken(sequence));
        };
        if sha256(&row) != hash {
            return Err(broken(sequence));
        }
        let (_, _, _, previous) = decode(&key, &row)?;
        (sequence, hash) = (sequence - 1, previous);
    }
    Ok(())
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
