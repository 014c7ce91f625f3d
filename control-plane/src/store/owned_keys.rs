//! How many API keys somebody owns, counted where nobody adds one meanwhile.

use super::{CommitError, KeyRoom, family::Family, plan::Planner, record};
use crate::domain::{
    api_key::{ApiKey, OWNED_KEYS_MAX},
    user::UserId,
};

impl Planner<'_> {
    pub(super) fn owned_keys(&self, owner: &UserId) -> Result<Vec<ApiKey>, CommitError> {
        let rows = self.writes.scan_prefix(Family::ApiKeys, b"")?;
        let keys = rows.values().map(|row| Ok(record::decode::<ApiKey>(row)?.value));
        let mut keys = keys.collect::<Result<Vec<_>, CommitError>>()?;
        keys.retain(|key| key.spec.owner == *owner);
        Ok(keys)
    }

    pub(super) fn check_room(&self, owner: &UserId, room: KeyRoom) -> Result<(), CommitError> {
        let KeyRoom { live_max, at } = room;
        let owned = self.owned_keys(owner)?;
        let live = owned.iter().filter(|key| !key.spec.has_expired(at)).count();
        let too_many = |max| CommitError::TooMany {
            max,
            what: "API keys may be owned by a user",
            remedy: "delete one that is not needed, or ask an admin",
        };
        match live_max {
            Some(max) if live > max => Err(too_many(max)),
            Some(_) | None if owned.len() > OWNED_KEYS_MAX => Err(too_many(OWNED_KEYS_MAX)),
            Some(_) | None => Ok(()),
        }
    }
}
