//! What checks of providers have shown: bookkeeping without audit and revision. It goes
//! with what it is about, in the same transaction.

use super::{
    CommitError, Stored,
    family::Family,
    record::{self, Persist, checks_of},
    rows::Rows,
    write_set::WriteSet,
};
use crate::domain::{
    health::{self, Check},
    provider::{Provider, ProviderName},
};

/// Keeps what a check has shown of the provider as this revision left it. Of any other
/// it says nothing, and is dropped.
pub(super) fn keep(
    writes: &mut WriteSet<'_>,
    check: &Check,
    provider_revision: u64,
    revision: u64,
) -> Result<(), CommitError> {
    let Some(row) = writes.get(Family::Providers, check.provider.as_str().as_bytes())? else {
        return Ok(());
    };
    let Stored {
        value: provider,
        revision: current,
    } = record::decode::<Provider>(&row)?;
    let is_listed = provider
        .spec
        .models
        .by_tier
        .all()
        .any(|model| *model == check.model);
    if current != provider_revision || !is_listed {
        return Ok(());
    }
    writes.put(
        Family::HealthChecks,
        &check.key(),
        record::encode(check, revision)?,
    )
}

/// Forgets what a change of the provider has made untrue.
pub(super) fn forget_outdated(
    writes: &mut WriteSet<'_>,
    before: &Provider,
    after: &Provider,
) -> Result<(), CommitError> {
    for (key, row) in writes.scan_prefix(Family::HealthChecks, &checks_of(&before.spec.name))? {
        if !health::still_counts(&record::decode::<Check>(&row)?.value, before, after) {
            writes.delete(Family::HealthChecks, &key);
        }
    }
    Ok(())
}

pub(super) fn forget_all(writes: &mut WriteSet<'_>, provider: &ProviderName) -> Result<(), CommitError> {
    for key in writes
        .scan_prefix(Family::HealthChecks, &checks_of(provider))?
        .keys()
    {
        writes.delete(Family::HealthChecks, key);
    }
    Ok(())
}
