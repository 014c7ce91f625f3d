//! Secrets that must survive a restart: sealed with the master key, which itself is
//! never in the store.

mod file;
mod keyring;
mod master_key;

pub use file::SecretFileError;
pub use keyring::{Keyring, SealError};
pub use master_key::{MasterKey, MasterKeyError, MasterKeySource};

use secrecy::SecretString;
use std::path::Path;

/// Random bytes of a node token.
const NODE_TOKEN_BYTES: usize = 32;

/// What data planes prove themselves with: read from a file, which is made if there
/// is none.
pub fn node_token(path: &Path) -> Result<SecretString, SecretFileError> {
    if let Some(token) = file::read(path)? {
        return Ok(token);
    }
    let random: [u8; NODE_TOKEN_BYTES] = rand::random();
    let token = SecretString::from(format!(
        "node-{}",
        random
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    ));
    file::create(path, &token)?;
    tracing::info!(path = %path.display(), "made a node token; data planes need it");
    Ok(token)
}
