//! The node's secret: it proves this node to the control plane, and the key of the
//! snapshot cache is made of it.
//!
//! A file is read whenever the secret is wanted: it may appear or change at any time.

use secrecy::{ExposeSecret, SecretString};

use crate::config::TokenSource;

#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the node token cannot be read from {path}: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("the node token in {path} is empty")]
    Empty { path: String },
}

pub(crate) fn read(source: &TokenSource) -> Result<SecretString, TokenError> {
    let path = match source {
        TokenSource::Given(token) => return Ok(token.clone()),
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
