//! Who calls, whichever way they showed it.

use crate::domain::{
    audit::Actor,
    service_token::Scopes,
    session::SessionId,
    user::{Role, UserId},
};

/// Somebody who may be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// For whom the call is made: a service token acts for who made it.
    pub user_id: UserId,
    /// A service token has one of its own.
    pub role: Role,
    /// As the audit names them.
    pub actor: Actor,
    pub credential: Credential,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    Session {
        id: SessionId,
        /// Only the password may be changed.
        must_change_password: bool,
    },
    ServiceToken(Scopes),
}

impl Caller {
    /// `None`: a service token, which has none.
    #[must_use]
    pub fn session_id(&self) -> Option<SessionId> {
        match &self.credential {
            Credential::Session { id, .. } => Some(*id),
            Credential::ServiceToken(_) => None,
        }
    }
}
