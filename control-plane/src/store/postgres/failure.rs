//! What the database's errors mean to us.

use crate::store::{Error, backend::WriteError};

/// Why the database did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It may work if it is tried again.
    #[error("{0}")]
    Passing(String),
    #[error("its disk is full")]
    Full,
    #[error("{0}")]
    Lasting(String),
}

impl Failure {
    pub(super) fn timeout() -> Self {
        Self::Passing("it did not answer in time".to_owned())
    }
}

/// Classes and codes of SQLSTATE that pass: the connection, serialization, resources,
/// an operator, a server that became a standby.
const PASSING_CLASSES: [&str; 5] = ["08", "40", "53", "57", "58"];
const PASSING_CODES: [&str; 2] = ["55P03", "25006"];
const DISK_FULL: &str = "53100";

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let code = error
            .as_database_error()
            .and_then(|error| error.code().map(|code| code.into_owned()));
        let reason = error.to_string();
        match (code, error) {
            (Some(code), _) if code == DISK_FULL => Self::Full,
            (Some(code), _) => {
                let passes = PASSING_CODES.contains(&code.as_str())
                    || PASSING_CLASSES.iter().any(|class| code.starts_with(class));
                if passes {
                    Self::Passing(reason)
                } else {
                    Self::Lasting(reason)
                }
            }
            (
                None,
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed,
            ) => Self::Passing(reason),
            (None, _) => Self::Lasting(reason),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Passing(reason) => Self::Unavailable { reason },
            Failure::Full | Failure::Lasting(_) => Self::unreadable(failure),
        }
    }
}

/// As long as nothing was committed.
impl From<Failure> for WriteError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Passing(reason) => Self::NotNow { reason },
            Failure::Full => Self::Full,
            Failure::Lasting(reason) => Self::Unread { reason },
        }
    }
}
