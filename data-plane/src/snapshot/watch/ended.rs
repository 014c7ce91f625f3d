//! Why a stream ended.

use std::time::Duration;

use super::tls;
use crate::snapshot::{identity, token::TokenError};

/// The control plane speaks at least every five seconds.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the node token has characters that no header may have")]
    BadToken,
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error("this node has no certificate yet")]
    NotEnrolled,
    #[error("this node needs a new join token: put it into JOIN_TOKEN or JOIN_TOKEN_FILE")]
    NoJoinToken,
    #[error("this node could not enrol: {0:?}: {1}")]
    Enrolment(tonic::Code, String),
    #[error("a key cannot be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error("the control plane answered no certificate")]
    BadCertificate,
    #[error("the certificate has expired at {at}; give this node a new join token ({cause})")]
    Expired { at: String, cause: String },
    #[error("the next certificate is there")]
    Renewed,
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error("cannot connect: {}", causes(.0))]
    Connect(#[from] tonic::transport::Error),
    #[error("a task was interrupted")]
    Interrupted,
    #[error("the control plane ended the stream: {0:?}: {1}")]
    Status(tonic::Code, String),
    #[error("the control plane closed the stream")]
    Closed,
    #[error("no message for {} seconds", SILENCE_MAX.as_secs())]
    Silent,
}

impl Ended {
    pub(super) fn not_enrolled(status: tonic::Status) -> Self {
        Self::Enrolment(status.code(), status.message().to_owned())
    }

    /// Whether asking again is in vain until somebody does something.
    pub(super) fn needs_somebody(&self) -> bool {
        match self {
            Self::Status(code, _) | Self::Enrolment(code, _) => {
                matches!(code, tonic::Code::PermissionDenied | tonic::Code::AlreadyExists)
            }
            Self::NoJoinToken | Self::Expired { .. } => true,
            Self::Token(_) | Self::BadToken | Self::Identity(_) | Self::NotEnrolled | Self::Key(_) => false,
            Self::BadCertificate | Self::Renewed | Self::Tls(_) | Self::Connect(_) => false,
            Self::Interrupted | Self::Closed | Self::Silent => false,
        }
    }

    /// Whether another certificate would help.
    pub(super) fn asks_to_enrol(&self) -> bool {
        match self {
            Self::NotEnrolled | Self::Expired { .. } => true,
            Self::Status(code, _) => *code == tonic::Code::PermissionDenied,
            Self::Token(_) | Self::BadToken | Self::Identity(_) | Self::NoJoinToken | Self::Key(_) => false,
            Self::Enrolment(..) | Self::BadCertificate | Self::Renewed | Self::Tls(_) => false,
            Self::Connect(_) | Self::Interrupted | Self::Closed | Self::Silent => false,
        }
    }
}

/// An error of the transport says itself only that it is one.
fn causes(error: &tonic::transport::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

impl From<tonic::Status> for Ended {
    fn from(status: tonic::Status) -> Self {
        Self::Status(status.code(), status.message().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_for_good_is_told_from_who_may_try_again() {
        let refused = tonic::Status::permission_denied("revoked");
        let busy = tonic::Status::unavailable("later");
        let cases = [
            (Ended::from(refused.clone()), true, true),
            (Ended::not_enrolled(refused), true, false),
            (
                Ended::not_enrolled(tonic::Status::already_exists("taken")),
                true,
                false,
            ),
            (Ended::from(busy.clone()), false, false),
            (Ended::not_enrolled(busy), false, false),
            (Ended::NotEnrolled, false, true),
            (Ended::NoJoinToken, true, false),
            (Ended::Silent, false, false),
        ];
        for (ended, needs_somebody, asks_to_enrol) in cases {
            assert_eq!(ended.needs_somebody(), needs_somebody, "{ended}");
            assert_eq!(ended.asks_to_enrol(), asks_to_enrol, "{ended}");
        }
    }
}
