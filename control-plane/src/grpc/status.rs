//! The one way from an error to a gRPC status.
//!
//! A refusal carries an `ErrorInfo` with a reason for programs; what went wrong
//! inside is logged here, once, and never told.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::auth::{Throttled, password, session};
use crate::configuration::plan;
use crate::domain::service_token::Scope;
use crate::domain::user::Role;
use crate::domain::{FieldViolation, Violations};
use crate::secrets::SealError;
use crate::store::{self, CommitError};
use crate::{explain, probe};

/// `ErrorInfo.domain` of every refusal.
const ERROR_DOMAIN: &str = "bridge.admin.v1";
/// When to try again if too many passwords are being checked.
const PASSWORD_RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}", joined(.0))]
    Invalid(Vec<FieldViolation>),
    #[error("sign in first: send `authorization: Bearer` with an access token")]
    TokenMissing,
    #[error("the access token is not valid or no longer so; refresh it or sign in again")]
    TokenRefused,
    #[error("API keys do not open the admin; sign in and send an access token")]
    ApiKeyAsToken,
    #[error("e-mail or password is wrong")]
    LoginRefused,
    #[error("the refresh token is not valid or was used before; sign in again")]
    RefreshRefused,
    #[error("change the password first")]
    PasswordChangeRequired,
    #[error("a caller with role {} may not do this", .role.as_str())]
    RoleRefused { role: Role },
    #[error("the service token has no scope {scope}; make one that has")]
    ScopeMissing { scope: Scope },
    #[error("service tokens may not do this; sign in")]
    ForPeopleOnly,
    #[error("there is no such method")]
    UnknownMethod,
    #[error("{kind} {id} does not exist")]
    NotFound { kind: store::Kind, id: String },
    #[error("request {id} is not in the log, or not yet")]
    NoSuchRequest { id: String },
    #[error("session {id} does not exist")]
    NoSuchSession { id: String },
    #[error("there is no data plane {id}")]
    NoSuchNode { id: String },
    #[error("{kind} {id} already exists")]
    Exists { kind: store::Kind, id: String },
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    #[error("{kind} {id} was changed meanwhile; read it again, its revision is {current}")]
    Conflict {
        kind: store::Kind,
        id: String,
        current: u64,
    },
    #[error("the configuration was changed meanwhile; its revision is {current}")]
    Moved { current: u64 },
    #[error("{0}")]
    Precondition(String),
    #[error("too many requests; try again in {} s", .retry_after.as_secs().max(1))]
    TooMany { retry_after: Duration },
    #[error("data plane {node} did not answer in time")]
    NoAnswer { node: String },
    #[error(
        "the control plane at which data plane {node} is connected did not answer in time: it was told or not"
    )]
    NoPeer { node: String },
    /// Of the playground, on its way.
    #[error("{0}")]
    AnswerBroken(String),
    #[error("the disk of the control plane is full")]
    DiskFull,
    #[error("the control plane takes no changes until it is restarted")]
    Broken,
    #[error("the database cannot be reached, and nothing was changed; try again")]
    DatabaseAway,
    #[error(
        "the database was lost while it committed: the change was made or not; look before you repeat it"
    )]
    OutcomeUnknown,
    #[error("something went wrong inside the control plane")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    pub(crate) fn invalid(field: &str, description: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldViolation {
            field: field.to_owned(),
            description: description.into(),
        }])
    }

    /// Violations of a part of the request, below the name of that part.
    pub(crate) fn nested(part: &str, violations: Vec<FieldViolation>) -> Self {
        let mut nested = Violations::default();
        nested.nest(part, violations);
        Self::Invalid(nested.into_vec())
    }

    pub(crate) fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }

    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidArgument,
            Self::TokenMissing
            | Self::TokenRefused
            | Self::ApiKeyAsToken
            | Self::LoginRefused
            | Self::RefreshRefused => Code::Unauthenticated,
            Self::PasswordChangeRequired
            | Self::RoleRefused { .. }
            | Self::ScopeMissing { .. }
            | Self::ForPeopleOnly => Code::PermissionDenied,
            Self::UnknownMethod => Code::Unimplemented,
            Self::NotFound { .. }
            | Self::NoSuchRequest { .. }
            | Self::NoSuchSession { .. }
            | Self::NoSuchNode { .. } => Code::NotFound,
            Self::Exists { .. } | Self::IdempotencyMismatch => Code::AlreadyExists,
            Self::Conflict { .. } | Self::Moved { .. } | Self::AnswerBroken(_) => Code::Aborted,
            Self::Precondition(_) => Code::FailedPrecondition,
            Self::TooMany { .. } | Self::DiskFull => Code::ResourceExhausted,
            Self::NoAnswer { .. } | Self::NoPeer { .. } => Code::DeadlineExceeded,
            Self::Broken | Self::DatabaseAway => Code::Unavailable,
            Self::OutcomeUnknown => Code::Unknown,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// The reason for programs. Each refusal has one, so that whoever reads it knows that it is ours
    /// and not that of something on the way here.
    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID",
            Self::TokenMissing => "TOKEN_MISSING",
            Self::TokenRefused => "TOKEN_REFUSED",
            Self::ApiKeyAsToken => "API_KEY_AS_TOKEN",
            Self::LoginRefused => "LOGIN_REFUSED",
            Self::RefreshRefused => "REFRESH_REFUSED",
            Self::PasswordChangeRequired => "PASSWORD_CHANGE_REQUIRED",
            Self::RoleRefused { .. } => "ROLE_REFUSED",
            Self::ScopeMissing { .. } => "SCOPE_MISSING",
            Self::ForPeopleOnly => "FOR_PEOPLE_ONLY",
            Self::UnknownMethod => "UNKNOWN_METHOD",
            Self::NotFound { .. }
            | Self::NoSuchRequest { .. }
            | Self::NoSuchSession { .. }
            | Self::NoSuchNode { .. } => "NOT_FOUND",
            Self::Exists { .. } => "ALREADY_EXISTS",
            Self::IdempotencyMismatch => "IDEMPOTENCY_KEY_REUSED",
            Self::Conflict { .. } | Self::Moved { .. } => "CHANGED_MEANWHILE",
            Self::Precondition(_) => "PRECONDITION",
            Self::TooMany { .. } => "TOO_MANY_REQUESTS",
            Self::NoAnswer { .. } => "NO_ANSWER",
            Self::NoPeer { .. } | Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::AnswerBroken(_) => "ANSWER_BROKEN",
            Self::DiskFull => "DISK_FULL",
            Self::Broken => "READ_ONLY",
            Self::DatabaseAway => "DATABASE_AWAY",
            Self::Internal(_) => "INTERNAL",
        }
    }

    fn details(&self) -> ErrorDetails {
        let mut details = ErrorDetails::new();
        details.set_error_info(self.reason(), ERROR_DOMAIN, []);
        if let Self::Invalid(violations) = self {
            for FieldViolation { field, description } in violations {
                details.add_bad_request_violation(field, description);
            }
        }
        if let Self::TooMany { retry_after } = self {
            details.set_retry_info(Some(*retry_after));
        }
        details
    }
}

fn joined(violations: &[FieldViolation]) -> String {
    violations
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if let Error::Internal(source) = &error {
            tracing::error!(error = %source, "a call failed inside");
        }
        Self::with_error_details(error.code(), error.to_string(), error.details())
    }
}

impl From<Vec<FieldViolation>> for Error {
    fn from(violations: Vec<FieldViolation>) -> Self {
        Self::Invalid(violations)
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable { .. } => Self::DatabaseAway,
            store::Error::Unreadable(_)
            | store::Error::Damaged { .. }
            | store::Error::NewerRecord { .. }
            | store::Error::Interrupted => Self::internal(error),
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Exists { kind, id } => Self::Exists { kind, id },
            CommitError::NotFound { kind, id } => Self::NotFound { kind, id },
            CommitError::Conflict { kind, id, current } => Self::Conflict { kind, id, current },
            CommitError::Moved { current } => Self::Moved { current },
            CommitError::SessionConflict => Self::RefreshRefused,
            CommitError::LastAdmin
            | CommitError::OwnsApiKeys { .. }
            | CommitError::RulesLeadTo { .. }
            | CommitError::TooMany { .. } => Self::Precondition(error.to_string()),
            CommitError::IdempotencyMismatch => Self::IdempotencyMismatch,
            CommitError::TooLarge { .. } => Self::invalid("", "is larger than the control plane can keep"),
            CommitError::Full => Self::DiskFull,
            CommitError::Broken => Self::Broken,
            CommitError::Unavailable => Self::DatabaseAway,
            CommitError::Unknown => Self::OutcomeUnknown,
            // Only creates carry an idempotency key, and they look at this first.
            CommitError::Replayed { .. } | CommitError::Read(_) => Self::internal(error),
        }
    }
}

impl From<password::Error> for Error {
    fn from(error: password::Error) -> Self {
        match error {
            password::Error::Busy => Self::TooMany {
                retry_after: PASSWORD_RETRY_AFTER,
            },
            password::Error::Failed => Self::internal(error),
        }
    }
}

impl From<session::Error> for Error {
    fn from(error: session::Error) -> Self {
        match error {
            session::Error::WrongCredentials => Self::LoginRefused,
            session::Error::InvalidToken => Self::TokenRefused,
            session::Error::Throttled(Throttled { retry_after }) => Self::TooMany { retry_after },
            session::Error::Password(error) => error.into(),
            session::Error::Invalid(violations) => Self::Invalid(violations),
            session::Error::Store(error) => error.into(),
            session::Error::Commit(error) => error.into(),
            session::Error::Sign(error) => Self::internal(error),
        }
    }
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Self {
        match error {
            SealError::TooLong { .. } => Self::invalid("secrets", "are too long"),
            SealError::OtherMasterKey { .. } | SealError::Refused { .. } => Self::internal(error),
        }
    }
}

impl From<plan::Error> for Error {
    fn from(error: plan::Error) -> Self {
        match error {
            plan::Error::Invalid(violations) => Self::nested("file", violations),
            plan::Error::Seal(error) => error.into(),
        }
    }
}

impl From<probe::Error> for Error {
    fn from(error: probe::Error) -> Self {
        match error {
            probe::Error::NoNode | probe::Error::NotYetHeld | probe::Error::Elsewhere(_) => {
                Self::Precondition(error.to_string())
            }
            probe::Error::TooMany { retry_after } => Self::TooMany { retry_after },
            probe::Error::NoAnswer { node } => Self::NoAnswer {
                node: node.to_string(),
            },
        }
    }
}

impl From<explain::Error> for Error {
    fn from(error: explain::Error) -> Self {
        match error {
            explain::Error::NoNode | explain::Error::NotThere(_) | explain::Error::Elsewhere(_) => {
                Self::Precondition(error.to_string())
            }
            explain::Error::TooMany { retry_after } => Self::TooMany { retry_after },
            explain::Error::NoAnswer { node } => Self::NoAnswer {
                node: node.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_told_by_field() {
        let status = Status::from(Error::invalid("name", "must not be empty"));
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, "name: must not be empty")
        );
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "name");
    }

    #[test]
    fn what_went_wrong_inside_is_not_told() {
        let status = Status::from(Error::internal("canary-7f3a"));
        assert_eq!(status.code(), Code::Internal);
        assert!(!format!("{status:?}").contains("canary"));
    }

    #[test]
    fn a_refusal_carries_its_reason() {
        let status = Status::from(Error::RoleRefused { role: Role::User });
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(
            status.get_error_details().error_info().unwrap().reason,
            "ROLE_REFUSED"
        );
    }
}
