//! The encoded resources of the fleet, by key, with their order-free hash.
//!
//! Pure: it is told what changed and says what to send. The hash is an XOR of one
//! SHA-256 per resource, so a change costs the same at ten keys and at a hundred
//! thousand.

use std::collections::BTreeMap;

use bridge_proto::fleet::v1 as fleet;
use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

/// The contract's limit for one chunk, encoded.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Length of a state hash.
const HASH_BYTES: usize = 32;

/// The name of a resource: its kind, as the contract numbers it, and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: fleet::ResourceKind,
    pub(crate) id: String,
}

/// XOR over all resources of SHA-256(encoded resource).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StateHash([u8; HASH_BYTES]);

impl StateHash {
    fn of(resource: &[u8]) -> Self {
        Self(Sha256::digest(resource).into())
    }

    /// Adds a resource, or takes it away again.
    fn toggle(&mut self, other: Self) {
        for (byte, other) in self.0.iter_mut().zip(other.0) {
            *byte ^= other;
        }
    }

    pub(crate) fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }

    pub(crate) fn matches(self, wire: &[u8]) -> bool {
        self.0 == wire
    }
}

struct Entry {
    encoded: Bytes,
    hash: StateHash,
}

/// What every data plane should hold.
#[derive(Default)]
pub(crate) struct Index {
    entries: BTreeMap<Key, Entry>,
    hash: StateHash,
}

impl Index {
    pub(crate) fn put(&mut self, key: Key, resource: &fleet::Resource) {
        let encoded = Bytes::from(resource.encode_to_vec());
        let hash = StateHash::of(&encoded);
        self.hash.toggle(hash);
        if let Some(old) = self.entries.insert(key, Entry { encoded, hash }) {
            self.hash.toggle(old.hash);
        }
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some(old) = self.entries.remove(key) {
            self.hash.toggle(old.hash);
        }
    }

    /// The whole as it is sent. `is_complete` says that nothing had to be left out,
    /// so that an empty set is what the admin wants.
    pub(crate) fn publish(&self, version: fleet::StoreVersion, is_complete: bool) -> Published {
        let holds = |kind| self.entries.keys().any(|key| key.kind == kind);
        let is_empty = !holds(fleet::ResourceKind::ApiKey) || !holds(fleet::ResourceKind::Provider);
        Published {
            version,
            state_hash: self.hash,
            resource_count: self.entries.len() as u64,
            allow_empty: is_complete && is_empty,
            chunks: chunks(self.entries.values().map(|entry| &entry.encoded)),
        }
    }
}

/// A version of the fleet's configuration, encoded once and shared by all streams.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) version: fleet::StoreVersion,
    pub(crate) state_hash: StateHash,
    resource_count: u64,
    allow_empty: bool,
    chunks: Vec<fleet::SnapshotChunk>,
}

impl Published {
    /// The messages of the snapshot by position; `None` after the last.
    pub(crate) fn message(&self, position: usize) -> Option<fleet::watch_response::Message> {
        use fleet::watch_response::Message::{SnapshotBegin, SnapshotChunk, SnapshotEnd};
        let last = self.chunks.len() + 1;
        if position == 0 {
            return Some(SnapshotBegin(fleet::SnapshotBegin {
                version: Some(self.version.clone()),
                resource_count: self.resource_count,
                allow_empty: self.allow_empty,
            }));
        }
        if position == last {
            return Some(SnapshotEnd(fleet::SnapshotEnd {
                version: Some(self.version.clone()),
                state_hash: self.state_hash.to_vec(),
            }));
        }
        self.chunks.get(position - 1).cloned().map(SnapshotChunk)
    }
}

fn chunks<'a>(resources: impl Iterator<Item = &'a Bytes>) -> Vec<fleet::SnapshotChunk> {
    let mut chunks = Vec::new();
    let mut chunk = fleet::SnapshotChunk::default();
    let mut chunk_bytes = 0;
    for resource in resources {
        let bytes = encoded_len(resource);
        if chunk_bytes + bytes > CHUNK_BYTES_MAX && !chunk.resources.is_empty() {
            chunks.push(std::mem::take(&mut chunk));
            chunk_bytes = 0;
        }
        chunk.resources.push(resource.clone());
        chunk_bytes += bytes;
    }
    if !chunk.resources.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

/// What a resource adds to its chunk: a tag, its length and itself.
fn encoded_len(resource: &Bytes) -> usize {
    1 + prost::length_delimiter_len(resource.len()) + resource.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(id: &str) -> Key {
        Key {
            kind: fleet::ResourceKind::ApiKey,
            id: id.to_owned(),
        }
    }

    fn resource(id: &str, name: &str) -> fleet::Resource {
        let key = fleet::ApiKey {
            id: id.to_owned(),
            name: name.to_owned(),
            ..Default::default()
        };
        fleet::Resource {
            kind: Some(fleet::resource::Kind::ApiKey(key)),
        }
    }

    fn provider(name: &str) -> (Key, fleet::Resource) {
        let provider = fleet::Provider {
            name: name.to_owned(),
            ..Default::default()
        };
        (
            Key {
                kind: fleet::ResourceKind::Provider,
                id: name.to_owned(),
            },
            fleet::Resource {
                kind: Some(fleet::resource::Kind::Provider(provider)),
            },
        )
    }

    fn messages(published: &Published) -> Vec<fleet::watch_response::Message> {
        (0..).map_while(|position| published.message(position)).collect()
    }

    #[test]
    fn the_hash_is_what_the_contract_says() {
        let mut index = Index::default();
        let (a, b) = (resource("a", "one"), resource("b", "two"));
        index.put(key("a"), &a);
        index.put(key("b"), &b);
        let expected: Vec<u8> = Sha256::digest(a.encode_to_vec())
            .iter()
            .zip(Sha256::digest(b.encode_to_vec()))
            .map(|(left, right)| left ^ right)
            .collect();
        assert_eq!(
            index
                .publish(fleet::StoreVersion::default(), true)
                .state_hash
                .to_vec(),
            expected
        );
    }

    #[test]
    fn a_snapshot_begins_carries_everything_and_ends() {
        let mut index = Index::default();
        index.put(key("a"), &resource("a", "one"));
        let version = fleet::StoreVersion {
            cluster_id: vec![7; 16],
            epoch: 1,
            revision: 9,
        };
        let messages = messages(&index.publish(version.clone(), true));
        let [
            fleet::watch_response::Message::SnapshotBegin(begin),
            fleet::watch_response::Message::SnapshotChunk(chunk),
            fleet::watch_response::Message::SnapshotEnd(end),
        ] = messages.as_slice()
        else {
            panic!("{messages:?}");
        };
        assert_eq!((begin.resource_count, chunk.resources.len()), (1, 1));
        assert_eq!(
            (begin.version.as_ref(), end.version.as_ref()),
            (Some(&version), Some(&version))
        );
    }

    #[test]
    fn an_empty_set_is_allowed_only_if_nothing_was_left_out() {
        let allow_empty = |index: &Index, is_complete| {
            index
                .publish(fleet::StoreVersion::default(), is_complete)
                .allow_empty
        };
        let mut index = Index::default();
        assert!(allow_empty(&index, true));
        assert!(!allow_empty(&index, false));
        index.put(key("a"), &resource("a", "one"));
        assert!(allow_empty(&index, true), "there is no provider");
        let (key, resource) = provider("qwen");
        index.put(key, &resource);
        assert!(!allow_empty(&index, true));
    }

    #[test]
    fn no_chunk_is_larger_than_the_contract_allows() {
        let mut index = Index::default();
        for n in 0..3_000 {
            let id = format!("key-{n}");
            index.put(key(&id), &resource(&id, &"x".repeat(n % 700)));
        }
        let published = index.publish(fleet::StoreVersion::default(), true);
        assert!(published.chunks.len() > 1);
        let resources: usize = published.chunks.iter().map(|chunk| chunk.resources.len()).sum();
        assert_eq!(resources, 3_000);
        for chunk in &published.chunks {
            assert!(
                chunk.encoded_len() <= CHUNK_BYTES_MAX,
                "{} bytes",
                chunk.encoded_len()
            );
        }
    }

    proptest! {
        #[test]
        fn any_way_to_the_same_resources_gives_the_same_hash(
            steps in proptest::collection::vec((0u8..6, proptest::option::of(0u8..4)), 0..60)
        ) {
            let mut index = Index::default();
            let mut model = BTreeMap::new();
            for (id, name) in steps {
                let (id, name) = (format!("k{id}"), name.map(|name| format!("n{name}")));
                match name {
                    Some(name) => {
                        index.put(key(&id), &resource(&id, &name));
                        model.insert(id, name);
                    }
                    None => {
                        index.remove(&key(&id));
                        model.remove(&id);
                    }
                }
            }
            let mut fresh = Index::default();
            for (id, name) in model.iter().rev() {
                fresh.put(key(id), &resource(id, name));
            }
            prop_assert_eq!(index.hash, fresh.hash);
        }
    }
}
