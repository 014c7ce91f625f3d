//! The encoded resources of the fleet, by key, with their order-free hash.
//!
//! Pure: it is told what changed. The hash is an XOR of one SHA-256 per resource, so a
//! change costs the same at ten keys and at a hundred thousand. While a change goes to
//! one node first, its old resources are kept beside the new ones: there are two sets of
//! resources then, and each has its hash.

use std::collections::BTreeMap;
use std::ops::Bound;

use bridge_proto::fleet::v1 as fleet;
use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

/// Length of a state hash.
const HASH_BYTES: usize = 32;

/// The name of a resource: its kind, as the contract numbers it, and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: fleet::ResourceKind,
    pub(crate) id: String,
}

impl Key {
    pub(crate) fn to_proto(&self) -> fleet::ResourceKey {
        fleet::ResourceKey {
            kind: self.kind.into(),
            id: self.id.clone(),
        }
    }
}

/// Which of the two sets is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Track {
    /// With everything in it, for the node that gets changes first.
    Newest,
    /// Without what is held back.
    Released,
}

/// Whether a change is for every node or for one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Everybody,
    /// It comes after a change that goes to one first, and does not overtake it.
    Behind,
    OneFirst,
}

/// What was there before a change that is held back.
#[derive(Debug)]
struct Withheld {
    /// Nothing if it is new.
    before: Option<Entry>,
    /// It only keeps the order.
    is_behind: bool,
}

/// XOR over all resources of SHA-256(encoded resource).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StateHash([u8; HASH_BYTES]);

impl StateHash {
    fn of(resource: &[u8]) -> Self {
        Self(Sha256::digest(resource).into())
    }

    /// `None` if it is not as long as one.
    pub(crate) fn from_wire(wire: &[u8]) -> Option<Self> {
        wire.try_into().ok().map(Self)
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
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    encoded: Bytes,
    hash: StateHash,
}

impl Entry {
    fn of(resource: &fleet::Resource) -> Self {
        let encoded = Bytes::from(resource.encode_to_vec());
        let hash = StateHash::of(&encoded);
        Self { encoded, hash }
    }
}

/// What every data plane should hold.
#[derive(Default)]
pub(crate) struct Index {
    newest: BTreeMap<Key, Entry>,
    newest_hash: StateHash,
    withheld: BTreeMap<Key, Withheld>,
    released_hash: StateHash,
}

impl Index {
    /// Changes a resource, or takes it away.
    pub(crate) fn put(&mut self, key: Key, resource: Option<&fleet::Resource>, reach: Reach) {
        let next = resource.map(Entry::of);
        let toggle = |hash: &mut StateHash, entry: Option<&Entry>| {
            entry.into_iter().for_each(|entry| hash.toggle(entry.hash));
        };
        let before = match &next {
            Some(next) => self.newest.insert(key.clone(), next.clone()),
            None => self.newest.remove(&key),
        };
        toggle(&mut self.newest_hash, before.as_ref());
        toggle(&mut self.newest_hash, next.as_ref());
        let withheld = self.withheld.remove(&key);
        let was_risky = withheld.as_ref().is_some_and(|withheld| !withheld.is_behind);
        let released = withheld.map_or(before, |withheld| withheld.before);
        match reach {
            Reach::Everybody => {
                toggle(&mut self.released_hash, released.as_ref());
                toggle(&mut self.released_hash, next.as_ref());
            }
            // A change that was taken back is none.
            Reach::Behind | Reach::OneFirst if released == next => {}
            Reach::Behind | Reach::OneFirst => {
                let is_behind = reach == Reach::Behind && !was_risky;
                let before = released;
                self.withheld.insert(key, Withheld { before, is_behind });
            }
        }
    }

    /// Lets go of everything that is held back, and says what it was.
    pub(crate) fn release(&mut self) -> Vec<Key> {
        self.released_hash = self.newest_hash;
        std::mem::take(&mut self.withheld).into_keys().collect()
    }

    /// Lets go of what only keeps the order, and says what it was.
    pub(crate) fn overtake(&mut self) -> Vec<Key> {
        let behind = self.withheld.extract_if(.., |_, withheld| withheld.is_behind);
        let behind: Vec<_> = behind.collect();
        for (key, Withheld { before, .. }) in &behind {
            for entry in before.iter().chain(self.newest.get(key)) {
                self.released_hash.toggle(entry.hash);
            }
        }
        behind.into_iter().map(|(key, _)| key).collect()
    }

    /// What is held back.
    pub(crate) fn withheld(&self) -> impl Iterator<Item = &Key> {
        self.withheld.keys()
    }

    pub(crate) fn holds_back(&self) -> bool {
        !self.withheld.is_empty()
    }

    pub(crate) fn hash(&self, track: Track) -> StateHash {
        match track {
            Track::Newest => self.newest_hash,
            Track::Released => self.released_hash,
        }
    }

    pub(crate) fn get(&self, key: &Key, track: Track) -> Option<&Bytes> {
        let entry = match (track, self.withheld.get(key)) {
            (Track::Released, Some(withheld)) => withheld.before.as_ref(),
            (Track::Newest, Some(_)) | (Track::Newest | Track::Released, None) => self.newest.get(key),
        };
        entry.map(|entry| &entry.encoded)
    }

    /// Every resource, encoded.
    pub(crate) fn all(&self, track: Track) -> impl Iterator<Item = &Bytes> {
        let is_withheld = move |key: &Key| track == Track::Released && self.withheld.contains_key(key);
        let newest = self.newest.iter().filter(move |(key, _)| !is_withheld(key));
        let before = self
            .withheld
            .values()
            .filter_map(|withheld| withheld.before.as_ref());
        newest
            .map(|(_, entry)| entry)
            .chain(before.filter(move |_| track == Track::Released))
            .map(|entry| &entry.encoded)
    }

    /// Whether there is no key, or no provider.
    pub(crate) fn is_empty(&self, track: Track) -> bool {
        let holds = |kind| {
            let first = Key {
                kind,
                id: String::new(),
            };
            let range = (Bound::Included(first), Bound::Unbounded);
            let of_kind = self.newest.range(range).take_while(|(key, _)| key.kind == kind);
            let mut keys = of_kind.map(|(key, _)| key).chain(self.withheld.keys());
            keys.any(|key| key.kind == kind && self.get(key, track).is_some())
        };
        !holds(fleet::ResourceKind::ApiKey) || !holds(fleet::ResourceKind::Provider)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::build;

    fn key(id: &str) -> Key {
        build::api_key_key(id)
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
        let resource = fleet::Resource {
            kind: Some(fleet::resource::Kind::Provider(provider)),
        };
        (build::provider_key(name), resource)
    }

    /// The hash by the contract's definition.
    fn hash_of<'a>(resources: impl IntoIterator<Item = &'a Bytes>) -> StateHash {
        let mut hash = StateHash::default();
        for resource in resources {
            hash.toggle(StateHash::of(resource));
        }
        hash
    }

    #[test]
    fn the_hash_is_the_xor_of_the_contract() {
        let mut index = Index::default();
        let (one, two) = (resource("a", "one"), resource("b", "two"));
        index.put(key("a"), Some(&one), Reach::Everybody);
        index.put(key("b"), Some(&two), Reach::Everybody);
        let digest = |resource: &fleet::Resource| Sha256::digest(resource.encode_to_vec());
        let expected: Vec<u8> = digest(&one)
            .iter()
            .zip(digest(&two))
            .map(|(left, right)| left ^ right)
            .collect();
        assert_eq!(index.hash(Track::Newest).to_vec(), expected);
        assert_eq!(index.hash(Track::Released).to_vec(), expected);
    }

    #[test]
    fn it_is_empty_without_a_key_or_without_a_provider() {
        let mut index = Index::default();
        assert!(index.is_empty(Track::Newest));
        index.put(key("a"), Some(&resource("a", "one")), Reach::Everybody);
        assert!(index.is_empty(Track::Newest), "there is no provider");
        let (name, resource) = provider("qwen");
        index.put(name.clone(), Some(&resource), Reach::OneFirst);
        assert!(!index.is_empty(Track::Newest) && index.is_empty(Track::Released));
        index.release();
        index.put(name, None, Reach::OneFirst);
        assert!(index.is_empty(Track::Newest) && !index.is_empty(Track::Released));
    }

    #[test]
    fn what_is_held_back_stays_what_it_was_until_it_is_released() {
        let mut index = Index::default();
        let (name, one) = provider("qwen");
        index.put(name.clone(), Some(&one), Reach::Everybody);
        let before = index.hash(Track::Released);
        let mut two = fleet::Provider {
            name: "qwen".to_owned(),
            priority: 9,
            ..Default::default()
        };
        let resource = |provider: &fleet::Provider| fleet::Resource {
            kind: Some(fleet::resource::Kind::Provider(provider.clone())),
        };
        index.put(name.clone(), Some(&resource(&two)), Reach::OneFirst);
        two.priority = 10;
        index.put(name.clone(), Some(&resource(&two)), Reach::OneFirst);
        assert_eq!(index.hash(Track::Released), before);
        assert_ne!(index.hash(Track::Newest), before);
        index.put(name.clone(), Some(&one), Reach::OneFirst);
        assert!(!index.holds_back(), "it was taken back");
        index.put(name.clone(), None, Reach::OneFirst);
        assert!(index.get(&name, Track::Released).is_some() && index.get(&name, Track::Newest).is_none());
        assert_eq!(index.release(), vec![name.clone()]);
        assert_eq!(index.get(&name, Track::Released), None);
    }

    #[test]
    fn what_waits_behind_a_change_goes_on_without_it() {
        let mut index = Index::default();
        let (name, resource_of) = provider("qwen");
        index.put(name.clone(), Some(&resource_of), Reach::OneFirst);
        index.put(key("a"), Some(&resource("a", "one")), Reach::Behind);
        index.put(name.clone(), None, Reach::Behind);
        assert_eq!(index.overtake(), vec![key("a")]);
        assert!(index.get(&key("a"), Track::Released).is_some());
        assert_eq!(index.hash(Track::Released), hash_of(index.all(Track::Released)));
        index.put(name, Some(&resource_of), Reach::OneFirst);
        index.put(key("b"), Some(&resource("b", "two")), Reach::Behind);
        index.put(key("b"), None, Reach::Everybody);
        assert!(index.overtake().is_empty() && index.holds_back());
    }

    proptest! {
        /// Whatever is held back when: both hashes are those of what is in the sets.
        #[test]
        fn the_hashes_are_those_of_the_sets(
            steps in proptest::collection::vec((0_u8..6, proptest::option::of(0_u8..4), 0_u8..8), 0..60)
        ) {
            let mut index = Index::default();
            let (mut newest, mut released) = (BTreeMap::new(), BTreeMap::new());
            for (id, name, how) in steps {
                let id = format!("k{id}");
                let value = name.map(|name| resource(&id, &format!("n{name}")));
                let put = |set: &mut BTreeMap<String, Bytes>| match &value {
                    Some(value) => drop(set.insert(id.clone(), value.encode_to_vec().into())),
                    None => drop(set.remove(&id)),
                };
                put(&mut newest);
                let reach = match how {
                    0..2 => Reach::Behind,
                    2..4 => Reach::OneFirst,
                    _ => Reach::Everybody,
                };
                if reach == Reach::Everybody {
                    put(&mut released);
                }
                index.put(key(&id), value.as_ref(), reach);
                if how == 7 {
                    index.release();
                    released = newest.clone();
                }
                for (track, set) in [(Track::Newest, &newest), (Track::Released, &released)] {
                    prop_assert_eq!(index.hash(track), hash_of(set.values()));
                    let mut all: Vec<_> = index.all(track).cloned().collect();
                    let mut expected: Vec<_> = set.values().cloned().collect();
                    all.sort();
                    expected.sort();
                    prop_assert_eq!(all, expected);
                    for (id, value) in set {
                        prop_assert_eq!(index.get(&key(id), track), Some(value));
                    }
                }
            }
        }
    }
}
