//! Walks the whole audit log and finds the first row that is not as it was written.
//!
//! Every row names the hash of the one before, and the head that of the last. If a row
//! does not fit what the next one names, one of the two was changed: the next one, if it
//! in turn does not fit what comes after it.

use super::{
    Error,
    audit_log::{AuditHead, decode, sha256},
    family::Family,
    head::Head,
    rows::{Order, Row, Rows, Span},
};

/// What a walk over all rows has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditChain {
    Whole {
        rows: u64,
    },
    Broken {
        /// The first row that is not as written.
        sequence: u64,
        reason: &'static str,
    },
}

const CHANGED: &str = "it is not what the entry after it was chained to";
const MISSING: &str = "it is missing";
const UNREADABLE: &str = "it cannot be read";
const ADDED: &str = "it was not written by the control plane";

pub(super) fn walk(rows: &dyn Rows) -> Result<AuditChain, Error> {
    let head = Head::load(rows)?.unwrap_or_default().audit;
    let broken = |sequence: u64, reason| Ok(AuditChain::Broken { sequence, reason });
    let mut before = AuditHead::default();
    // A row that does not fit what the next one names.
    let mut suspect = None;
    for row in rows.scan(Family::Audit, Span::all(), Order::Ascending) {
        let Row { key, value } = row?;
        let expected = before.sequence + 1;
        let Ok(sequence) = <[u8; 8]>::try_from(key.as_slice()).map(u64::from_be_bytes) else {
            return broken(expected, ADDED);
        };
        if sequence > expected.min(head.sequence) {
            let is_added = expected > head.sequence;
            let (found, reason) = if is_added {
                (sequence, ADDED)
            } else {
                (expected, MISSING)
            };
            return broken(suspect.unwrap_or(found), suspect.map_or(reason, |_| CHANGED));
        }
        let Ok((_, _, _, named)) = decode(&key, &value) else {
            return broken(sequence, UNREADABLE);
        };
        let fits = named == before.hash;
        if fits && let Some(suspect) = suspect {
            return broken(suspect, CHANGED);
        }
        suspect = (!fits).then_some(before.sequence.max(1));
        before = AuditHead {
            sequence,
            hash: sha256(&value),
        };
    }
    if before.sequence < head.sequence {
        let found = before.sequence + 1;
        return broken(suspect.unwrap_or(found), suspect.map_or(MISSING, |_| CHANGED));
    }
    if before.hash != head.hash {
        return broken(before.sequence, CHANGED);
    }
    match suspect {
        Some(sequence) => broken(sequence, CHANGED),
        None => Ok(AuditChain::Whole {
            rows: before.sequence,
        }),
    }
}
