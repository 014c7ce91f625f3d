//! Held breakers: one for each provider and model, until it expires or its provider is
//! deleted.

use std::time::SystemTime;

use super::{
    CommitError, Error, Expect, Kind, Store, Stored,
    family::Family,
    plan::Planner,
    record::{self, Persist},
    rows::{Order, Rows, Span},
};
use crate::domain::{
    breaker_override::{BreakerOverride, HOLDS_MAX, OverrideId},
    provider::ProviderName,
};

impl Planner<'_> {
    /// Its provider must be there. Those whose place it takes go with it, and so do those
    /// that are over.
    pub(super) fn put_breaker_override(&mut self, held: &BreakerOverride) -> Result<(), CommitError> {
        let provider = held.spec.provider.as_str();
        if self.writes.get(Family::Providers, provider.as_bytes())?.is_none() {
            return Err(CommitError::NotFound {
                kind: Kind::Provider,
                id: provider.to_owned(),
            });
        }
        let (gone, stay): (Vec<_>, Vec<_>) = self
            .breaker_overrides()?
            .into_iter()
            .partition(|older| held.replaces(older) || older.is_over(held.created_at));
        if stay.len() >= HOLDS_MAX {
            return Err(CommitError::TooMany {
                max: HOLDS_MAX,
                what: "breakers may be held",
                remedy: "delete one that is not needed",
            });
        }
        for older in gone {
            self.delete_breaker_override(&older.id, Expect::Present)?;
        }
        self.put(Kind::BreakerOverride, held.id.as_str(), held, Expect::Absent)?;
        self.note(Kind::BreakerOverride, held.id.to_string(), true);
        Ok(())
    }

    pub(super) fn delete_breaker_override(
        &mut self,
        id: &OverrideId,
        expect: Expect,
    ) -> Result<(), CommitError> {
        let key = id.as_str().as_bytes();
        self.delete::<BreakerOverride>(Kind::BreakerOverride, id.as_str(), key, expect)?;
        self.note(Kind::BreakerOverride, id.to_string(), true);
        Ok(())
    }

    /// They go the way of their provider, not before it: who still has it keeps them.
    pub(super) fn delete_breaker_overrides_of(&mut self, provider: &ProviderName) -> Result<(), CommitError> {
        for held in self.breaker_overrides()? {
            if held.spec.provider == *provider {
                let id = held.id.as_str();
                self.delete::<BreakerOverride>(Kind::BreakerOverride, id, id.as_bytes(), Expect::Present)?;
                self.note(Kind::BreakerOverride, id.to_owned(), false);
            }
        }
        Ok(())
    }

    fn breaker_overrides(&self) -> Result<Vec<BreakerOverride>, CommitError> {
        let rows = self.writes.scan_prefix(Family::BreakerOverrides, b"")?;
        let held = rows
            .values()
            .map(|row| Ok(record::decode::<BreakerOverride>(row)?.value));
        held.collect()
    }
}

impl Store {
    /// Those that are over too, until they are swept.
    pub async fn breaker_overrides(&self) -> Result<Vec<Stored<BreakerOverride>>, Error> {
        self.blocking(|rows| {
            rows.scan(BreakerOverride::FAMILY, Span::all(), Order::Ascending)
                .map(|row| record::decode(&row?.value))
                .collect()
        })
        .await
    }

    /// Those that were over at this moment.
    pub async fn breaker_overrides_over(&self, at: SystemTime) -> Result<Vec<BreakerOverride>, Error> {
        let all = self.breaker_overrides().await?.into_iter();
        Ok(all
            .map(|held| held.value)
            .filter(|held| held.is_over(at))
            .collect())
    }
}
