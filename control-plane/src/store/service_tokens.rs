//! Service tokens: they stand and fall with who made them. When they were last used is
//! bookkeeping.

use std::{collections::BTreeMap, time::SystemTime};

use super::{
    CommitError, Error, Expect, Kind, Store, Stored,
    family::Family,
    plan::Planner,
    record::{self, Persist},
    rows::{Order, Row, Rows, Span},
};
use crate::domain::{
    service_token::{ServiceToken, TokenId},
    user::UserId,
};

impl Planner<'_> {
    pub(super) fn put_service_token(
        &mut self,
        token: &ServiceToken,
        expect: Expect,
    ) -> Result<(), CommitError> {
        if self.writes.get(Family::Users, token.maker.as_bytes())?.is_none() {
            return Err(CommitError::NotFound {
                kind: Kind::User,
                id: token.maker.to_string(),
            });
        }
        self.put(Kind::ServiceToken, token.id.as_str(), token, expect)?;
        self.note(Kind::ServiceToken, token.id.to_string(), false);
        Ok(())
    }

    pub(super) fn delete_service_token(&mut self, id: &TokenId, expect: Expect) -> Result<(), CommitError> {
        let key = id.as_str().as_bytes();
        self.delete::<ServiceToken>(Kind::ServiceToken, id.as_str(), key, expect)?;
        self.writes.delete(Family::ServiceTokenUses, key);
        self.note(Kind::ServiceToken, id.to_string(), false);
        Ok(())
    }

    pub(super) fn delete_service_tokens_of(&mut self, maker: &UserId) -> Result<(), CommitError> {
        for row in self.writes.scan_prefix(Family::ServiceTokens, b"")?.values() {
            let token = record::decode::<ServiceToken>(row)?.value;
            if token.maker == *maker {
                self.delete_service_token(&token.id, Expect::Present)?;
            }
        }
        Ok(())
    }

    pub(super) fn record_token_use(&mut self, id: &TokenId, at: SystemTime) -> Result<(), CommitError> {
        let key = id.as_str().as_bytes();
        if self.writes.get(Family::ServiceTokens, key)?.is_none() {
            return Ok(());
        }
        let row = record::encode_time(Family::ServiceTokenUses, at, self.revision)?;
        self.writes.put(Family::ServiceTokenUses, key, row)
    }
}

impl Store {
    pub async fn service_token(&self, id: &TokenId) -> Result<Option<Stored<ServiceToken>>, Error> {
        let row = self
            .backend
            .get(ServiceToken::FAMILY, id.as_str().as_bytes())
            .await?;
        row.map(|row| record::decode(&row)).transpose()
    }

    pub async fn service_tokens(&self) -> Result<Vec<Stored<ServiceToken>>, Error> {
        self.blocking(|rows| {
            rows.scan(ServiceToken::FAMILY, Span::all(), Order::Ascending)
                .map(|row| record::decode(&row?.value))
                .collect()
        })
        .await
    }

    pub async fn service_token_use(&self, id: &TokenId) -> Result<Option<SystemTime>, Error> {
        let family = Family::ServiceTokenUses;
        let row = self.backend.get(family, id.as_str().as_bytes()).await?;
        row.map(|row| record::decode_time(family, &row)).transpose()
    }

    /// When tokens were last used, to the minute; those that never were are not listed.
    pub async fn service_token_uses(&self) -> Result<BTreeMap<TokenId, SystemTime>, Error> {
        self.blocking(uses).await
    }
}

fn uses(rows: &dyn Rows) -> Result<BTreeMap<TokenId, SystemTime>, Error> {
    let family = Family::ServiceTokenUses;
    let damaged = || Error::damaged(family, "a key is not the id of a service token");
    rows.scan(family, Span::all(), Order::Ascending)
        .map(|row| {
            let Row { key, value } = row?;
            let id = std::str::from_utf8(&key).ok().map(TokenId::parse);
            let id = id.and_then(Result::ok).ok_or_else(damaged)?;
            Ok((id, record::decode_time(family, &value)?))
        })
        .collect()
}
