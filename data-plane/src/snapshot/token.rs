//! The node's secret: it proves this node to the control plane, and the key of the
//! snapshot cache is made of it. A node with a certificate has one that only does the latter.
//!
//! A file is read whenever the secret is wanted: it may appear or change at any time.

use secrecy::{ExposeSecret, SecretString};

use super::identity;
use crate::config::TokenSource;

#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token cannot be read from {path}: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("this node has not enrolled yet")]
    NotEnrolled,
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error("the token in {path} is empty")]
    Empty { path: String },
}

pub(crate) fn read(source: &TokenSource) -> Result<SecretString, TokenError> {
    let path = match source {
        TokenSource::Given(token) => return Ok(token.clone()),
        TokenSource::Identity(path) => {
            let identity = identity::read(path)?.ok_or(TokenError::NotEnrolled)?;
            return Ok(identity.cache_secret);
        }
        TokenSource::File(path) => path,
    };
    let shown = || path.display().to_string();
    let text: SecretString = std::fs::read_to_string(path)
        .map_err(|source| TokenError::Unreadable {
            path: shown(),
            source,
        })?
        .into();
    match text.expose_secret().trim() {
        "" => Err(TokenError::Empty { path: shown() }),
        token => Ok(SecretString::from(token)),
    }
}
