//! A map of which a changed copy costs only what was changed.
//!
//! One key among a hundred thousand must not cost a copy of all: the entries lie in many
//! small maps behind shared pointers, and a copy shares all but those that it changes.

use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

/// Some hundred entries each, at the largest sizes that are promised.
const SHARDS: usize = 512;

#[derive(Clone)]
pub(crate) struct Shards<K, V> {
    shards: Vec<Arc<HashMap<K, V>>>,
    hasher: RandomState,
    len: usize,
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let empty = Arc::new(HashMap::new());
        Self {
            shards: vec![empty; SHARDS],
            hasher: RandomState::new(),
            len: 0,
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Shards<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.shards.get(self.place(key))?.get(key)
    }

    /// In no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    /// What was there before, if anything was.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let place = self.place(&key);
        let shard = self.shards.get_mut(place)?;
        let older = Arc::make_mut(shard).insert(key, value);
        self.len += usize::from(older.is_none());
        older
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place(key);
        let shard = self
            .shards
            .get_mut(place)
            .filter(|shard| shard.contains_key(key))?;
        let older = Arc::make_mut(shard).remove(key);
        self.len -= usize::from(older.is_some());
        older
    }

    fn place(&self, key: &K) -> usize {
        // The remainder fits whatever a machine counts with.
        (self.hasher.hash_one(key) % SHARDS as u64) as usize
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Shards<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.shards.iter().flat_map(|shard| shard.iter());
        f.debug_map().entries(entries).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_changed_copy_shares_all_but_what_was_changed() {
        let mut map = Shards::default();
        for n in 0..10_000 {
            map.insert(n, n);
        }
        let mut copy = map.clone();
        copy.insert(7, 0);
        let shared = map.shards.iter().zip(&copy.shards);
        let shared = shared.filter(|(one, other)| Arc::ptr_eq(one, other)).count();
        assert_eq!(shared, SHARDS - 1);
        assert_eq!((map.get(&7), copy.get(&7)), (Some(&7), Some(&0)));
        copy.remove(&1_000_000);
        assert_eq!(copy.len(), 10_000);
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0_u8..20, prop::option::of(any::<u8>())), 0..200)) {
            let (mut map, mut model) = (Shards::default(), HashMap::new());
            for (key, value) in steps {
                let (one, other) = match value {
                    Some(value) => (map.insert(key, value), model.insert(key, value)),
                    None => (map.remove(&key), model.remove(&key)),
                };
                prop_assert_eq!(one, other);
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.is_empty(), model.is_empty());
                prop_assert_eq!(map.get(&key), model.get(&key));
            }
            let mut values: Vec<u8> = map.values().copied().collect();
            let mut expected: Vec<u8> = model.into_values().collect();
            values.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(values, expected);
        }
    }
}
