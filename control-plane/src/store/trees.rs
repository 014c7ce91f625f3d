//! Each family of records in a sled tree of its own, and what is written together.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use sled::{IVec, Transactional, transaction::TransactionError};

use super::{CommitError, Error, family::Family};

/// Largest record, in bytes. Far below the size from which sled writes a value into
/// a file of its own, which it does not sync.
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1024;

#[derive(Clone)]
pub(super) struct Trees {
    db: sled::Db,
    all: Vec<sled::Tree>,
}

impl Trees {
    pub(super) fn open(db: &sled::Db) -> Result<Self, sled::Error> {
        let all = Family::ALL
            .iter()
            .map(|family| db.open_tree(family.name()))
            .collect::<Result<_, _>>()?;
        Ok(Self { db: db.clone(), all })
    }

    pub(super) fn tree(&self, family: Family) -> &sled::Tree {
        &self.all[family as usize]
    }

    pub(super) fn get(&self, family: Family, key: &[u8]) -> Result<Option<IVec>, Error> {
        Ok(self.tree(family).get(key)?)
    }

    /// Hands what is in memory to the operating system.
    pub(super) fn flush(&self) -> Result<(), sled::Error> {
        self.db.flush().map(drop)
    }

    /// Whether there is no record at all.
    pub(super) fn are_empty(&self) -> bool {
        self.all.iter().all(sled::Tree::is_empty)
    }

    /// The digest of everything that is covered, by reading all of it.
    pub(super) fn digest(&self) -> Result<StateDigest, Error> {
        let mut digest = StateDigest::default();
        for family in Family::ALL.iter().copied().filter(|family| family.is_digested()) {
            for row in self.tree(family).iter() {
                let (key, value) = row?;
                digest.toggle(family, &key, &value);
            }
        }
        Ok(digest)
    }
}

/// XOR of one SHA-256 per record: kept with every write, compared at start, so that
/// a record that damage has taken or brought back does not go unnoticed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct StateDigest([u8; 32]);

impl StateDigest {
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn toggle(&mut self, family: Family, key: &[u8], value: &[u8]) {
        let hash = Sha256::new()
            .chain_update(family.name())
            .chain_update((key.len() as u64).to_be_bytes())
            .chain_update(key)
            .chain_update(value)
            .finalize();
        self.0.iter_mut().zip(hash).for_each(|(sum, byte)| *sum ^= byte);
    }
}

/// Everything that one commit writes, readable like the store it will lead to.
pub(super) struct WriteSet<'a> {
    trees: &'a Trees,
    writes: BTreeMap<(Family, Vec<u8>), Option<Vec<u8>>>,
}

impl<'a> WriteSet<'a> {
    pub(super) fn new(trees: &'a Trees) -> Self {
        Self {
            trees,
            writes: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.writes.get(&(family, key.to_vec())) {
            Some(written) => Ok(written.clone()),
            None => Ok(self.trees.get(family, key)?.map(|value| value.to_vec())),
        }
    }

    pub(super) fn put(&mut self, family: Family, key: &[u8], value: Vec<u8>) -> Result<(), CommitError> {
        if value.len() > RECORD_BYTES_MAX {
            return Err(CommitError::TooLarge {
                family: family.name(),
                bytes: value.len(),
                max: RECORD_BYTES_MAX,
            });
        }
        self.writes.insert((family, key.to_vec()), Some(value));
        Ok(())
    }

    pub(super) fn delete(&mut self, family: Family, key: &[u8]) {
        self.writes.insert((family, key.to_vec()), None);
    }

    /// All rows of a family below a prefix, this set's writes included.
    pub(super) fn scan(&self, family: Family, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
        let mut rows = BTreeMap::new();
        for row in self.trees.tree(family).scan_prefix(prefix) {
            let (key, value) = row?;
            rows.insert(key.to_vec(), value.to_vec());
        }
        let written = self
            .writes
            .iter()
            .filter(|((of, key), _)| *of == family && key.starts_with(prefix));
        for ((_, key), value) in written {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows)
    }

    /// The digest after this set, from the one before it.
    pub(super) fn digest_after(&self, before: StateDigest) -> Result<StateDigest, Error> {
        let mut digest = before;
        for ((family, key), value) in self.writes.iter().filter(|((family, _), _)| family.is_digested()) {
            if let Some(old) = self.trees.get(*family, key)? {
                digest.toggle(*family, key, &old);
            }
            if let Some(new) = value {
                digest.toggle(*family, key, new);
            }
        }
        Ok(digest)
    }

    /// Writes it as one transaction: all of it or nothing.
    pub(super) fn apply(self) -> Result<(), sled::Error> {
        let mut families: Vec<Family> = self.writes.keys().map(|(family, _)| *family).collect();
        families.dedup();
        let trees: Vec<&sled::Tree> = families.iter().map(|family| self.trees.tree(*family)).collect();
        let result = trees.as_slice().transaction(|views| {
            for ((family, key), value) in &self.writes {
                let Some(view) = families
                    .iter()
                    .position(|of| of == family)
                    .and_then(|place| views.get(place))
                else {
                    continue;
                };
                match value {
                    Some(value) => view.insert(key.as_slice(), value.as_slice())?,
                    None => view.remove(key.as_slice())?,
                };
            }
            Ok(())
        });
        result.map_err(|error: TransactionError<std::convert::Infallible>| match error {
            TransactionError::Abort(never) => match never {},
            TransactionError::Storage(error) => error,
        })
    }
}
