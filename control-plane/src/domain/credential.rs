//! What credentials that we make look like: `<prefix><id>-<secret><checksum>`.
//!
//! The id is public and finds the credential; the secret is 256 random bits and is
//! kept nowhere, only its hash. The checksum lets everybody tell a typo from a
//! credential.

use secrecy::SecretString;
use sha2::{Digest, Sha256};

/// Characters of an id.
pub(super) const ID_CHARS: usize = 12;
/// Characters of base62 that hold 256 bits.
pub(super) const SECRET_CHARS: usize = 43;
/// Characters of base62 that hold 32 bits.
pub(super) const CHECKSUM_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A kind of credential.
pub(super) struct Form {
    /// What every one begins with.
    pub(super) prefix: &'static str,
    /// Part of the hash, so that it cannot be mistaken for that of another kind.
    pub(super) hash_domain: &'static [u8],
}

/// A credential that was just made.
pub(super) struct Made {
    pub(super) id: String,
    pub(super) hash: [u8; 32],
    /// All of it, as its holder sends it.
    pub(super) text: SecretString,
}

impl Form {
    /// Out of 32 random bytes for the secret and 12 for the id.
    pub(super) fn make(&self, secret: [u8; 32], id: [u8; 12]) -> Made {
        let id = base62(&id, ID_CHARS);
        let secret = base62(&secret, SECRET_CHARS);
        let hash = self.hash(&id, &secret);
        let body = format!("{}{id}-{secret}", self.prefix);
        let checksum = checksum(&body);
        Made {
            id,
            hash,
            text: SecretString::from(body + &checksum),
        }
    }

    /// Its id and hash, if the text is a credential of this kind without a typo.
    pub(super) fn read<'a>(&self, text: &'a str) -> Option<(&'a str, [u8; 32])> {
        let body_bytes = text.len().checked_sub(CHECKSUM_CHARS)?;
        let (body, sum) = text.split_at_checked(body_bytes)?;
        let (id, secret) = body.strip_prefix(self.prefix)?.split_once('-')?;
        let is_whole = is_id(id) && secret.len() == SECRET_CHARS && checksum(body) == sum;
        is_whole.then(|| (id, self.hash(id, secret)))
    }

    /// SHA-256 over the domain, the id and the secret, in ASCII.
    fn hash(&self, id: &str, secret: &str) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.hash_domain)
            .chain_update(id)
            .chain_update(secret)
            .finalize()
            .into()
    }
}

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

    const FORM: Form = Form {
        prefix: "test-",
        hash_domain: b"test-v1",
    };

    #[test]
    fn what_was_made_is_read_and_no_typo_is() {
        let made = FORM.make([0xff; 32], [7; 12]);
        let text = made.text.expose_secret();
        assert_eq!(FORM.read(text), Some((made.id.as_str(), made.hash)));
        for at in 0..text.len() {
            let mut typo = text.to_owned();
            let other = if typo.as_bytes()[at] == b'x' { "y" } else { "x" };
            typo.replace_range(at..=at, other);
            assert_eq!(FORM.read(&typo), None, "{typo}");
        }
        for bad in [
            "",
            "test-",
            "é",
            "test-ééééééééé",
            &text[1..],
            &text[..text.len() - 1],
        ] {
            assert_eq!(FORM.read(bad), None, "{bad}");
        }
    }

    #[test]
    fn kinds_do_not_share_hashes() {
        let other = Form {
            hash_domain: b"other-v1",
            ..FORM
        };
        assert_ne!(
            FORM.make([1; 32], [2; 12]).hash,
            other.make([1; 32], [2; 12]).hash
        );
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
