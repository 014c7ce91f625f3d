//! Users, and what stands and falls with them: sessions, and API keys that they own.

use super::{
    CommitError, Expect, Kind, SessionChange,
    family::Family,
    plan::Planner,
    record::{self, Persist, session_key},
    rows::Rows,
};
use crate::domain::{
    api_key::{ApiKey, is_revocation},
    session::Session,
    user::{User, UserId},
};

impl Planner<'_> {
    pub(super) fn put_user(&mut self, user: &User, expect: Expect) -> Result<(), CommitError> {
        let email = user.spec.email.as_str();
        let holder = self.writes.get(Family::UsersByEmail, email.as_bytes())?;
        if holder.is_some_and(|holder| holder != user.id.as_bytes()) {
            return Err(CommitError::Exists {
                kind: Kind::User,
                id: email.to_owned(),
            });
        }
        let old = self.put(Kind::User, &user.id.to_string(), user, expect)?;
        if let Some(old) = &old {
            self.writes
                .delete(Family::UsersByEmail, old.spec.email.as_str().as_bytes());
            self.removed_admin |= old.spec.is_enabled_admin() && !user.spec.is_enabled_admin();
        }
        self.writes.put(
            Family::UsersByEmail,
            email.as_bytes(),
            user.id.as_bytes().to_vec(),
        )?;
        self.note(Kind::User, user.id.to_string(), false);
        Ok(())
    }

    pub(super) fn delete_user(&mut self, id: &UserId, expect: Expect) -> Result<(), CommitError> {
        if !self.owned_keys(id)?.is_empty() {
            return Err(CommitError::OwnsApiKeys { id: id.to_string() });
        }
        if let Some(old) = self.delete::<User>(Kind::User, &id.to_string(), id.as_bytes(), expect)? {
            self.writes
                .delete(Family::UsersByEmail, old.spec.email.as_str().as_bytes());
            self.removed_admin |= old.spec.is_enabled_admin();
        }
        let sessions = self.writes.scan_prefix(Family::Sessions, id.as_bytes())?;
        sessions
            .keys()
            .for_each(|key| self.writes.delete(Family::Sessions, key));
        self.writes.delete(Family::LastLogins, id.as_bytes());
        self.delete_service_tokens_of(id)?;
        self.note(Kind::User, id.to_string(), false);
        Ok(())
    }

    pub(super) fn put_api_key(&mut self, key: &ApiKey, expect: Expect) -> Result<(), CommitError> {
        let owner = key.spec.owner;
        if self.writes.get(Family::Users, owner.as_bytes())?.is_none() {
            return Err(CommitError::NotFound {
                kind: Kind::User,
                id: owner.to_string(),
            });
        }
        let old = self.put(Kind::ApiKey, key.id.as_str(), key, expect)?;
        let urgent = old.is_some_and(|old| is_revocation(&old, Some(key)));
        self.note(Kind::ApiKey, key.id.to_string(), urgent);
        Ok(())
    }

    pub(super) fn session(&mut self, change: &SessionChange) -> Result<(), CommitError> {
        match change {
            SessionChange::Put(session) => {
                let key = session.key();
                let next = self
                    .get::<Session>(&key)?
                    .map_or(0, |old| old.value.generation.saturating_add(1));
                let user_is_there = self
                    .writes
                    .get(Family::Users, session.user_id.as_bytes())?
                    .is_some();
                if session.generation != next || !user_is_there {
                    return Err(CommitError::SessionConflict);
                }
                self.writes
                    .put(Family::Sessions, &key, record::encode(session, self.revision)?)
            }
            SessionChange::Delete(user_id, id) => {
                self.writes.delete(Family::Sessions, &session_key(user_id, id));
                Ok(())
            }
            SessionChange::RecordTokenUse(id, at) => self.record_token_use(id, *at),
            SessionChange::RecordLogin(user_id, at) => {
                let row = record::encode_time(Family::LastLogins, *at, self.revision)?;
                self.writes.put(Family::LastLogins, user_id.as_bytes(), row)
            }
        }
    }

    /// Somebody must always be able to let others in.
    pub(super) fn check_admins(&self) -> Result<(), CommitError> {
        if !self.removed_admin {
            return Ok(());
        }
        for row in self.writes.scan_prefix(Family::Users, b"")?.values() {
            if record::decode::<User>(row)?.value.spec.is_enabled_admin() {
                return Ok(());
            }
        }
        Err(CommitError::LastAdmin)
    }
}
