//! The resources of a snapshot as they were received, byte for byte.
//!
//! A change names what it replaces, and the hash is over the bytes: so they stay, whatever
//! this build knows of what is in them.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{KeyId, StateHash, shards::Shards};

/// What a resource is called: the number of its kind in the contract, and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) kind: i32,
    pub(crate) id: String,
}

/// Copies share what they do not change.
#[derive(Clone, Default)]
pub(crate) struct Resources {
    keys: Shards<KeyId, Bytes>,
    others: BTreeMap<Name, Bytes>,
    /// Of kinds that this build does not know, so that nobody can tell what replaces them.
    nameless: Vec<Bytes>,
}

impl Resources {
    pub(crate) fn len(&self) -> usize {
        self.keys.len() + self.others.len() + self.nameless.len()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.values().chain(self.others())
    }

    /// All but the keys.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Bytes> {
        self.others.values().chain(&self.nameless)
    }

    pub(crate) fn put_key(&mut self, id: KeyId, resource: Bytes) -> Option<Bytes> {
        self.keys.insert(id, resource)
    }

    pub(crate) fn take_key(&mut self, id: &KeyId) -> Option<Bytes> {
        self.keys.remove(id)
    }

    pub(crate) fn put(&mut self, name: Name, resource: Bytes) -> Option<Bytes> {
        self.others.insert(name, resource)
    }

    pub(crate) fn take(&mut self, name: &Name) -> Option<Bytes> {
        self.others.remove(name)
    }

    pub(crate) fn put_nameless(&mut self, resource: Bytes) {
        self.nameless.push(resource);
    }
}

/// They hold secrets.
impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Adds a resource to a hash, or takes it away again.
pub(crate) fn toggle(hash: &mut StateHash, resource: &[u8]) {
    for (byte, other) in hash.iter_mut().zip(Sha256::digest(resource)) {
        *byte ^= other;
    }
}
