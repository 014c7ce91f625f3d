//! What was spent of a key's budgets counts for the key that takes its place.

use super::{KeyUsage, record};
use crate::{
    domain::api_key::KeyId,
    store::{CommitError, family::Family, rows::Rows, write_set::WriteSet},
};

/// The successor itself was never used.
pub(in crate::store) fn carry(
    writes: &mut WriteSet<'_>,
    from: &KeyId,
    to: &KeyId,
    revision: u64,
) -> Result<(), CommitError> {
    let Some(row) = writes.get(Family::KeyUsage, from.as_str().as_bytes())? else {
        return Ok(());
    };
    let usage = KeyUsage {
        last_used_s: 0,
        ..record::key_usage(&row)?
    };
    writes.put(
        Family::KeyUsage,
        to.as_str().as_bytes(),
        record::encode_key_usage(&usage, revision)?,
    )
}
