//! Finds and drops what is kept long enough, a bounded part at a time.

use std::time::Duration;

use super::{
    keys,
    record::{self, LogRecord},
};
use crate::{
    domain::{retention::Retention, usage::Step},
    store::{
        CommitError, Error,
        family::Family,
        rows::{Order, Row, RowIter, Rows, Span},
        write_set::WriteSet,
    },
};

/// Rows that one turn drops, and of keys and boots those that it looks at.
const ROWS_MAX: usize = 1_000;
/// What the request log may take on disk, whatever the number of its entries.
const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How long a silent boot is remembered, so that a late report is not counted twice.
const BOOT_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Rows to drop.
pub(in crate::store) type Outdated = Vec<(Family, Vec<u8>)>;

/// Where the next turn goes on among boots and keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    boot: Vec<u8>,
    key: Vec<u8>,
}

/// What a turn has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    pub rows: usize,
    /// There may be more to drop at once.
    pub has_more: bool,
    pub cursor: Cursor,
}

pub(in crate::store) fn find(
    rows: &dyn Rows,
    now_s: u64,
    retention: &Retention,
    cursor: Cursor,
) -> Result<(Outdated, Swept), Error> {
    let mut outdated = Outdated::new();
    for (step, kept) in [
        (Step::Minute, retention.minutes()),
        (Step::Hour, retention.hours()),
        (Step::Day, retention.days()),
    ] {
        let span = keys::between(step, 0, before(now_s, kept));
        take(
            &mut outdated,
            Family::UsageSums,
            rows.scan(Family::UsageSums, span, Order::Ascending),
        )?;
    }
    find_entries(rows, now_s, retention, &mut outdated)?;
    let has_more = outdated.len() >= ROWS_MAX;
    let cursor = Cursor {
        boot: find_boots(rows, now_s, cursor.boot, &mut outdated)?,
        key: find_keys(rows, before(now_s, retention.days()), cursor.key, &mut outdated)?,
    };
    let swept = Swept {
        rows: outdated.len(),
        has_more,
        cursor,
    };
    Ok((outdated, swept))
}

fn before(now_s: u64, kept: Duration) -> u64 {
    now_s.saturating_sub(kept.as_secs())
}

fn take(outdated: &mut Outdated, family: Family, rows: RowIter<'_>) -> Result<(), Error> {
    for row in rows.take(ROWS_MAX.saturating_sub(outdated.len())) {
        outdated.push((family, row?.key));
    }
    Ok(())
}

/// The oldest, while there are too many, too large or too old ones.
fn find_entries(
    rows: &dyn Rows,
    now_s: u64,
    retention: &Retention,
    outdated: &mut Outdated,
) -> Result<(), Error> {
    let mut left = match rows.get(Family::UsageMeta, keys::LOG)? {
        Some(row) => record::log(&row)?,
        None => LogRecord::default(),
    };
    let oldest_ms = before(now_s, retention.requests()).saturating_mul(1_000);
    let entries = rows.scan(Family::RequestLog, Span::all(), Order::Ascending);
    for row in entries.take(ROWS_MAX.saturating_sub(outdated.len())) {
        let Row { key, value } = row?;
        let is_kept = keys::started_ms(&key) >= oldest_ms
            && left.rows <= u64::from(retention.request_entries)
            && left.bytes <= LOG_BYTES_MAX;
        if is_kept {
            return Ok(());
        }
        left.rows = left.rows.saturating_sub(1);
        left.bytes = left.bytes.saturating_sub(value.len() as u64);
        outdated.push((Family::RequestLog, key));
    }
    Ok(())
}

fn find_boots(rows: &dyn Rows, now_s: u64, from: Vec<u8>, outdated: &mut Outdated) -> Result<Vec<u8>, Error> {
    let mut span = keys::boots();
    span.from = span.from.max(from);
    let boots = rows.scan(Family::UsageMeta, span, Order::Ascending);
    for (seen, row) in boots.enumerate() {
        let Row { key, value } = row?;
        if seen >= ROWS_MAX {
            return Ok(key);
        }
        if record::boot(&value)?.at_s < before(now_s, BOOT_KEPT) {
            outdated.push((Family::UsageMeta, key));
        }
    }
    Ok(Vec::new())
}

/// Keys that are gone and have left no sums.
fn find_keys(
    rows: &dyn Rows,
    oldest_s: u64,
    from: Vec<u8>,
    outdated: &mut Outdated,
) -> Result<Vec<u8>, Error> {
    let used = rows.scan(Family::KeyUsage, Span::from(&from), Order::Ascending);
    for (seen, row) in used.enumerate() {
        let Row { key, value } = row?;
        if seen >= ROWS_MAX {
            return Ok(key);
        }
        let is_silent = record::key_usage(&value)?.last_used_s < oldest_s;
        if is_silent && rows.get(Family::ApiKeys, &key)?.is_none() {
            outdated.push((Family::KeyUsage, key));
        }
    }
    Ok(Vec::new())
}

/// Drops rows, those that are still there.
pub(in crate::store) fn forget(
    writes: &mut WriteSet<'_>,
    outdated: &Outdated,
    revision: u64,
) -> Result<(), CommitError> {
    let mut log = match writes.get(Family::UsageMeta, keys::LOG)? {
        Some(row) => record::log(&row)?,
        None => LogRecord::default(),
    };
    let mut is_log_shorter = false;
    for (family, key) in outdated {
        let Some(row) = writes.get(*family, key)? else {
            continue;
        };
        if *family == Family::RequestLog {
            log.rows = log.rows.saturating_sub(1);
            log.bytes = log.bytes.saturating_sub(row.len() as u64);
            is_log_shorter = true;
        }
        writes.delete(*family, key);
    }
    if is_log_shorter {
        writes.put(Family::UsageMeta, keys::LOG, record::encode_log(log, revision)?)?;
    }
    Ok(())
}
