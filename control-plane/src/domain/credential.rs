//! What credentials that we make look like: `<prefix><id>-<secret><checksum>`.
//!
//! The id is public and finds the credential; the secret is 256 random bits and is
//! kept nowhere, only its hash. The checksum lets everybody tell a typo from a
//! credential.

use std::fmt;
use std::marker::PhantomData;

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Invalid;

/// Characters of an id.
pub(super) const ID_CHARS: usize = 12;
/// Characters of base62 that hold 256 bits.
pub(super) const SECRET_CHARS: usize = 43;
/// Characters of base62 that hold 32 bits.
pub(super) const CHECKSUM_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A kind of credential: what tells its ids and hashes from those of others, to the compiler
/// too. It has no values.
pub trait Kind {
    /// What people call one.
    const NAME: &'static str;
    /// What every one begins with.
    const PREFIX: &'static str;
    /// Part of the hash, so that it cannot be mistaken for that of another kind.
    const HASH_DOMAIN: &'static [u8];
}

/// The public part of a credential: 12 of [0-9A-Za-z].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<K>(String, PhantomData<K>);

/// What is kept of the secret: SHA-256 over the domain, the id and the secret, in ASCII.
#[derive(Debug, Clone, Copy)]
pub struct SecretHash<K>([u8; 32], PhantomData<K>);

/// A new credential: its secret is shown once.
#[derive(Debug)]
pub struct Minted<K> {
    pub id: Id<K>,
    pub hash: SecretHash<K>,
    /// All of it, as its holder sends it.
    pub secret: SecretString,
}

/// A new credential out of 32 random bytes for the secret and 12 for the id.
#[must_use]
pub(super) fn mint<K: Kind>(secret: [u8; 32], id: [u8; 12]) -> Minted<K> {
    let id = base62(&id, ID_CHARS);
    let secret = base62(&secret, SECRET_CHARS);
    let hash = SecretHash::of(&id, &secret);
    let body = format!("{}{id}-{secret}", K::PREFIX);
    let checksum = checksum(&body);
    Minted {
        id: Id(id, PhantomData),
        hash,
        secret: SecretString::from(body + &checksum),
    }
}

/// Its id and hash, if the text is a credential of this kind without a typo.
pub(super) fn read<K: Kind>(text: &str) -> Option<(Id<K>, SecretHash<K>)> {
    let body_bytes = text.len().checked_sub(CHECKSUM_CHARS)?;
    let (body, sum) = text.split_at_checked(body_bytes)?;
    let (id, secret) = body.strip_prefix(K::PREFIX)?.split_once('-')?;
    let is_whole = is_id(id) && secret.len() == SECRET_CHARS && checksum(body) == sum;
    is_whole.then(|| (Id(id.to_owned(), PhantomData), SecretHash::of(id, secret)))
}

// === impl Id ===

impl<K: Kind> Id<K> {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if !is_id(text) {
            return Err(Invalid::new(format!("must be the id of {}", K::NAME)));
        }
        Ok(Self(text.to_owned(), PhantomData))
    }

    /// What people see of the credential: its prefix and id.
    #[must_use]
    pub fn display(&self) -> String {
        format!("{}{}", K::PREFIX, self.0)
    }
}

impl<K> Id<K> {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl SecretHash ===

impl<K> SecretHash<K> {
    /// Takes a hash that was made before.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes, PhantomData)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl<K: Kind> SecretHash<K> {
    fn of(id: &str, secret: &str) -> Self {
        let hash = Sha256::new()
            .chain_update(K::HASH_DOMAIN)
            .chain_update(id)
            .chain_update(secret);
        Self(hash.finalize().into(), PhantomData)
    }
}

/// In constant time.
impl<K> PartialEq for SecretHash<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<K> Eq for SecretHash<K> {}

// === what both are made of ===

/// A public id out of random bytes.
pub(super) fn id(random: &[u8; ID_CHARS]) -> String {
    base62(random, ID_CHARS)
}

pub(super) fn is_id(text: &str) -> bool {
    text.len() == ID_CHARS && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn checksum(body: &str) -> String {
    base62(&crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECKSUM_CHARS)
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

    #[derive(Debug, Clone, PartialEq)]
    enum Tests {}

    impl Kind for Tests {
        const NAME: &'static str = "a test";
        const PREFIX: &'static str = "test-";
        const HASH_DOMAIN: &'static [u8] = b"test-v1";
    }

    enum Others {}

    impl Kind for Others {
        const NAME: &'static str = "another one";
        const PREFIX: &'static str = "test-";
        const HASH_DOMAIN: &'static [u8] = b"other-v1";
    }

    #[test]
    fn what_was_made_is_read_and_no_typo_is() {
        let made = mint::<Tests>([0xff; 32], [7; 12]);
        let text = made.secret.expose_secret();
        assert_eq!(read(text), Some((made.id.clone(), made.hash)));
        for at in 0..text.len() {
            let mut typo = text.to_owned();
            let other = if typo.as_bytes()[at] == b'x' { "y" } else { "x" };
            typo.replace_range(at..=at, other);
            assert!(read::<Tests>(&typo).is_none(), "{typo}");
        }
        for bad in [
            "",
            "test-",
            "é",
            "test-ééééééééé",
            &text[1..],
            &text[..text.len() - 1],
        ] {
            assert!(read::<Tests>(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_id_is_that_of_its_kind() {
        let id = mint::<Tests>([1; 32], [2; 12]).id;
        assert_eq!(Id::parse(id.as_str()), Ok(id));
        let refused = Id::<Tests>::parse("too short").unwrap_err();
        assert_eq!(refused.to_string(), "must be the id of a test");
    }

    #[test]
    fn kinds_do_not_share_hashes() {
        let (one, other) = (
            mint::<Tests>([1; 32], [2; 12]).hash,
            mint::<Others>([1; 32], [2; 12]).hash,
        );
        assert_ne!(one.as_bytes(), other.as_bytes());
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
