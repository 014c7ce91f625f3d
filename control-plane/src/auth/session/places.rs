//! Where a user is signed in, and how that ends from elsewhere.

use std::time::SystemTime;

use super::{Error, Sessions};
use crate::{
    auth::caller::Caller,
    document,
    domain::{
        audit::AuditEntry,
        session::{Session, SessionId},
        user::{Role, User},
    },
    store::{Change, SessionChange},
};

impl Sessions {
    /// The sessions of a user that still stand, the newest first.
    pub async fn list(&self, user: &User, now: SystemTime) -> Result<Vec<Session>, Error> {
        let mut sessions = self.store.sessions_of(&user.id).await?;
        let epoch = user.credentials.session_epoch;
        sessions.retain(|session| {
            now < session.expires_at && session.session_epoch == epoch && user.spec.enabled
        });
        sessions.sort_by_key(|session| std::cmp::Reverse((session.created_at, session.id)));
        Ok(sessions)
    }

    /// Ends a session, if the caller reaches it: admins reach all, others their own.
    pub async fn end(&self, caller: &Caller, id: &SessionId, audit: AuditEntry) -> Result<bool, Error> {
        let session = match caller.role {
            Role::Admin => self.store.session_of_anybody(id).await?,
            Role::Operator | Role::Auditor | Role::User => self.store.session(&caller.user_id, id).await?,
        };
        let Some(session) = session else {
            return Ok(false);
        };
        let before = document::summary(document::session(&session));
        let end = SessionChange::Delete(session.user_id, session.id);
        self.commit(
            vec![Change::Session(end)],
            audit.with_summaries(Some(before), None),
        )
        .await?;
        Ok(true)
    }
}
