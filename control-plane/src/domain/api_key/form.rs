//! What a key looks like: `sk-bridge-<id>-<secret><checksum>`.

use std::fmt;

use secrecy::SecretString;

use crate::domain::Invalid;
use crate::domain::credential::{self, Form};

const FORM: Form = Form {
    prefix: "sk-bridge-",
    hash_domain: b"bridge-key-v1",
};

/// The public part of a key: 12 of [0-9A-Za-z].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if !credential::is_id(text) {
            return Err(Invalid::new("must be the id of an API key"));
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What people see of the key: its prefix and id.
    #[must_use]
    pub fn display(&self) -> String {
        format!("{}{}", FORM.prefix, self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 over a constant, the id and the secret, in ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Takes a hash that was made before.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A new key: its secret is shown once.
#[derive(Debug)]
pub struct Minted {
    pub id: KeyId,
    pub hash: KeyHash,
    /// The whole key, as a client sends it.
    pub secret: SecretString,
}

/// A new key out of 32 random bytes for the secret and 12 for the id.
#[must_use]
pub fn mint(secret: [u8; 32], id: [u8; 12]) -> Minted {
    let credential::Made { id, hash, text } = FORM.make(secret, id);
    Minted {
        id: KeyId(id),
        hash: KeyHash(hash),
        secret: text,
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::domain::credential::{CHECKSUM_CHARS, ID_CHARS, SECRET_CHARS};

    #[test]
    fn a_minted_key_has_the_agreed_form() {
        let minted = mint([0xff; 32], [7; 12]);
        let key = minted.secret.expose_secret();
        assert_eq!(
            key.len(),
            "sk-bridge-".len() + ID_CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS
        );
        let (body, checksum) = key.split_at(key.len() - CHECKSUM_CHARS);
        let digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let number = checksum
            .chars()
            .fold(0_u64, |sum, c| sum * 62 + digits.find(c).unwrap() as u64);
        assert_eq!(number, u64::from(crc32fast::hash(body.as_bytes())));
        let secret = body.rsplit('-').next().unwrap();
        let hash = Sha256::digest(format!("bridge-key-v1{}{secret}", minted.id));
        assert_eq!(minted.hash.as_bytes()[..], hash[..]);
        assert!(KeyId::parse(minted.id.as_str()).is_ok());
    }
}
