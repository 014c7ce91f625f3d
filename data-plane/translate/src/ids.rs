//! Ids: minted for the client, shortened for an upstream.
//!
//! Randomness is the caller's: the same seed gives the same ids, so that a test, a replay and a second attempt
//! before the commit point can agree.

use sha2::{Digest, Sha256};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_CHARS: usize = 24;
/// Longest id that is passed on to clients unchanged.
const ID_BYTES_MAX: usize = 64;

/// A source of ids for one answer.
#[derive(Debug, Clone)]
pub struct Ids {
    seed: [u8; 32],
    minted: u64,
}

impl Ids {
    /// `seed` must be fresh randomness per answer: clients lose messages with repeated ids.
    pub fn new(seed: [u8; 32]) -> Self {
        Ids { seed, minted: 0 }
    }

    pub(crate) fn message(&self) -> String {
        self.derive("msg_", 0)
    }

    pub(crate) fn tool_use(&mut self) -> String {
        self.minted += 1;
        self.derive("toolu_", self.minted)
    }

    fn derive(&self, prefix: &str, counter: u64) -> String {
        let digest = Sha256::new()
            .chain_update(self.seed)
            .chain_update(counter.to_be_bytes())
            .finalize();
        let mut id = String::with_capacity(prefix.len() + RANDOM_CHARS);
        id.push_str(prefix);
        id.push_str(&base62(&digest, RANDOM_CHARS));
        id
    }
}

/// A short name for a text, for ids towards upstreams.
pub(crate) fn short_hash(text: &str, chars: usize) -> String {
    base62(&Sha256::digest(text.as_bytes()), chars)
}

/// The first `chars` bytes of a digest as base62 letters.
fn base62(digest: &[u8], chars: usize) -> String {
    digest
        .iter()
        .take(chars)
        .map(|byte| char::from(BASE62[usize::from(*byte) % BASE62.len()]))
        .collect()
}

/// Whether clients take this id as it is: `^[A-Za-z0-9_-]{1,64}$`.
pub(crate) fn is_well_formed(id: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_well_formed_distinct_and_repeatable() {
        let mut ids = Ids::new([7; 32]);
        let minted = [ids.message(), ids.tool_use(), ids.tool_use()];
        for id in &minted {
            assert!(is_well_formed(id), "{id}");
        }
        assert_ne!(minted[1], minted[2]);
        assert_eq!(ids.message(), Ids::new([7; 32]).message());
        assert_ne!(ids.message(), Ids::new([8; 32]).message());
        assert!(!is_well_formed("functions.Read:0") && !is_well_formed(""));
    }
}
