//! What a key looks like: `sk-bridge-<id>-<secret><checksum>`.

use crate::domain::credential::{self, Id, Kind, SecretHash};

/// API keys, as a kind of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiKeys {}

impl Kind for ApiKeys {
    const NAME: &'static str = "an API key";
    const PREFIX: &'static str = "sk-bridge-";
    const HASH_DOMAIN: &'static [u8] = b"bridge-key-v1";
}

pub type KeyId = Id<ApiKeys>;
pub type KeyHash = SecretHash<ApiKeys>;
pub type Minted = credential::Minted<ApiKeys>;

/// A new key out of 32 random bytes for the secret and 12 for the id.
#[must_use]
pub fn mint(secret: [u8; 32], id: [u8; 12]) -> Minted {
    credential::mint(secret, id)
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
