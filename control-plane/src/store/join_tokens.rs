//! Join tokens: kept until they are used or have expired, and never many.

use super::{
    CommitError, Error, Expect, Kind, Store, Stored,
    family::Family,
    plan::Planner,
    record::{self, Persist},
};
use crate::domain::join_token::{JoinToken, JoinTokenId, TOKENS_MAX};

impl Planner<'_> {
    pub(super) fn put_join_token(&mut self, token: &JoinToken, expect: Expect) -> Result<(), CommitError> {
        let mut waiting = 0;
        for row in self.writes.scan_prefix(Family::JoinTokens, b"")?.values() {
            let other = record::decode::<JoinToken>(row)?.value;
            if other.has_expired(token.created_at) {
                self.delete_join_token(&other.id, Expect::Present)?;
            } else {
                waiting += 1;
            }
        }
        if waiting >= TOKENS_MAX {
            return Err(CommitError::TooMany {
                max: TOKENS_MAX,
                what: "join tokens may wait",
                remedy: "use them, or wait until they expire",
            });
        }
        self.put(Kind::JoinToken, token.id.as_str(), token, expect)?;
        self.note(Kind::JoinToken, token.id.to_string(), false);
        Ok(())
    }

    pub(super) fn delete_join_token(&mut self, id: &JoinTokenId, expect: Expect) -> Result<(), CommitError> {
        self.delete::<JoinToken>(Kind::JoinToken, id.as_str(), id.as_str().as_bytes(), expect)?;
        self.note(Kind::JoinToken, id.to_string(), false);
        Ok(())
    }
}

impl Store {
    /// `None`: there is none, or it was used.
    pub async fn join_token(&self, id: &JoinTokenId) -> Result<Option<Stored<JoinToken>>, Error> {
        let row = self
            .backend
            .get(JoinToken::FAMILY, id.as_str().as_bytes())
            .await?;
        row.map(|row| record::decode(&row)).transpose()
    }
}
