//! Whether what is there adds up to what should be: asked before anything is served.

use super::{Error, audit_log, change_log, digest::StateDigest, head::Head, record, rows::Rows};

/// Rows of the audit log whose chain is checked at start.
const AUDIT_ROWS_CHECKED: usize = 10_000;

/// What everything else is compared with.
pub(super) fn head(rows: &dyn Rows) -> Result<Head, String> {
    let head = Head::load(rows).map_err(|error| error.to_string())?;
    head.ok_or_else(|| "its head is missing".to_owned())
}

/// `Err` says what does not agree with the head.
pub(super) fn all(rows: &dyn Rows, head: &Head) -> Result<(), String> {
    chain_of(rows, head, AUDIT_ROWS_CHECKED)
}

/// The same to the first row of the audit log, and every record is read.
pub(super) fn to_the_last(rows: &dyn Rows, head: &Head) -> Result<(), String> {
    chain_of(rows, head, usize::MAX)?;
    record::read_all(rows).map_err(|error| error.to_string())
}

fn chain_of(rows: &dyn Rows, head: &Head, audit_rows: usize) -> Result<(), String> {
    let check = || -> Result<bool, Error> {
        change_log::verify(rows, head.revision)?;
        audit_log::verify(rows, head.audit, audit_rows)?;
        Ok(StateDigest::of(rows)? == head.digest)
    };
    match check() {
        Ok(true) => Ok(()),
        Ok(false) => Err("its records do not add up".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
