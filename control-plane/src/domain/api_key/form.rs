//! What a key looks like: `sk-bridge-<id>-<secret><checksum>`.
//!
//! The id is public and finds the key; the secret is 256 random bits and is kept
//! nowhere, only its hash. The checksum lets everybody tell a typo from a key.

use std::fmt;

use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::domain::Invalid;

/// What every key begins with.
const PREFIX: &str = "sk-bridge-";
/// Parts of the hash, so that it cannot be mistaken for another one.
const HASH_DOMAIN: &[u8] = b"bridge-key-v1";
const ID_CHARS: usize = 12;
/// Characters of base62 that hold 256 bits.
const SECRET_CHARS: usize = 43;
/// Characters of base62 that hold 32 bits.
const CHECKSUM_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The public part of a key: 12 of [0-9A-Za-z].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() != ID_CHARS || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
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
        format!("{PREFIX}{}", self.0)
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
    let id = base62(&id, ID_CHARS);
    let secret = base62(&secret, SECRET_CHARS);
    let hash = Sha256::new()
        .chain_update(HASH_DOMAIN)
        .chain_update(&id)
        .chain_update(&secret)
        .finalize();
    let body = format!("{PREFIX}{id}-{secret}");
    let checksum = base62(&crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECKSUM_CHARS);
    Minted {
        id: KeyId(id),
        hash: KeyHash(hash.into()),
        secret: SecretString::from(body + &checksum),
    }
}

/// A big-endian number in base62, its last `chars` digits, most significant first.
fn base62(number: &[u8], chars: usize) -> String {
    let mut digits = number.to_vec();
    let mut text = vec![BASE62[0]; chars];
    for place in text.iter_mut().rev() {
        let mut remainder = 0_u32;
        for digit in &mut digits {
            let value = (remainder << 8) | u32::from(*digit);
            *digit = (value / 62) as u8;
            remainder = value % 62;
        }
        *place = BASE62[remainder as usize];
    }
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_minted_key_has_the_agreed_form() {
        let minted = mint([0xff; 32], [7; 12]);
        let key = minted.secret.expose_secret();
        assert_eq!(
            key.len(),
            PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS
        );
        let (body, checksum) = key.split_at(key.len() - CHECKSUM_CHARS);
        let number = checksum.bytes().fold(0_u64, |sum, byte| {
            sum * 62 + BASE62.iter().position(|b| *b == byte).unwrap() as u64
        });
        assert_eq!(number, u64::from(crc32fast::hash(body.as_bytes())));
        let secret = body.rsplit('-').next().unwrap();
        let hash = Sha256::digest(format!("bridge-key-v1{}{secret}", minted.id));
        assert_eq!(minted.hash.as_bytes()[..], hash[..]);
        assert!(KeyId::parse(minted.id.as_str()).is_ok());
    }

    #[test]
    fn base62_counts_like_numbers_do() {
        assert_eq!(base62(&[0], 3), "000");
        assert_eq!(base62(&[61], 3), "00z");
        assert_eq!(base62(&[62], 3), "010");
        assert_eq!(base62(&[0xff; 32], SECRET_CHARS).len(), SECRET_CHARS);
        assert_ne!(
            base62(&[0xff; 32], SECRET_CHARS).as_bytes()[0],
            b'0',
            "43 digits are needed for 256 bits"
        );
    }
}
