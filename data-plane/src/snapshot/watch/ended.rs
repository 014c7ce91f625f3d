//! Why a stream ended.

use std::time::Duration;

use crate::snapshot::token::TokenError;

/// The control plane speaks at least every five seconds.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the node token has characters that no header may have")]
    BadToken,
    #[error("the certificate authority cannot be read from {path}: {source}")]
    Authority { path: String, source: std::io::Error },
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("the control plane ended the stream: {0:?}: {1}")]
    Status(tonic::Code, String),
    #[error("the control plane closed the stream")]
    Closed,
    #[error("no message for {} seconds", SILENCE_MAX.as_secs())]
    Silent,
}

impl From<tonic::Status> for Ended {
    fn from(status: tonic::Status) -> Self {
        Self::Status(status.code(), status.message().to_owned())
    }
}
