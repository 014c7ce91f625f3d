//! Who calls, from where and when: what every service needs of a request.

use std::time::SystemTime;

use tonic::Request;

use crate::auth::caller::Caller;
use crate::domain::audit::{AuditEntry, Origin};
use crate::domain::to_the_millisecond;
use crate::domain::user::{Role, UserId};
use crate::grpc::status::Error;

/// A call by somebody who is signed in; the interceptor attaches it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) caller: Caller,
    pub(crate) origin: Origin,
    /// Such as `ApiKeyService.CreateApiKey`.
    pub(crate) method: String,
    pub(crate) now: SystemTime,
}

pub(crate) fn now() -> SystemTime {
    to_the_millisecond(SystemTime::now())
}

impl Call {
    pub(crate) fn of<T>(request: &Request<T>) -> Result<Self, Error> {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .ok_or(Error::TokenMissing)
    }

    pub(crate) fn audit(&self, target: &str) -> AuditEntry {
        let actor = self.caller.actor.clone();
        AuditEntry::new(actor, &self.method, target, self.origin.clone(), self.now)
    }

    /// Whether the caller reaches what belongs to this user. A `user` reaches only
    /// what is theirs; for the others the table of methods has decided.
    pub(crate) fn reaches(&self, owner: UserId) -> bool {
        match self.caller.role {
            Role::Admin | Role::Operator | Role::Auditor => true,
            Role::User => self.caller.user_id == owner,
        }
    }
}
