//! What all records add up to.

use sha2::{Digest, Sha256};

use super::{
    Error,
    family::Family,
    rows::{Order, Row, Rows, Span},
};

/// XOR of one SHA-256 per record: kept with every write, compared at start, so that
/// a record that damage has taken or brought back does not go unnoticed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct StateDigest([u8; 32]);

impl StateDigest {
    /// Of everything that is covered, by reading all of it.
    pub(super) fn of(rows: &dyn Rows) -> Result<Self, Error> {
        let mut digest = Self::default();
        for family in Family::ALL.iter().copied().filter(|family| family.is_digested()) {
            for row in rows.scan(family, Span::all(), Order::Ascending) {
                let Row { key, value } = row?;
                digest.toggle(family, &key, &value);
            }
        }
        Ok(digest)
    }

    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Takes a record in, or out again.
    pub(super) fn toggle(&mut self, family: Family, key: &[u8], value: &[u8]) {
        let hash = Sha256::new()
            .chain_update(family.name())
            .chain_update((key.len() as u64).to_be_bytes())
            .chain_update(key)
            .chain_update(value)
            .finalize();
        self.0.iter_mut().zip(hash).for_each(|(sum, byte)| *sum ^= byte);
    }
}
