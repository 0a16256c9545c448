//! A map that many read while it is replaced: a change copies one shelf, not the whole.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

// The keys are digests and ids of our own making, so nobody can choose them to collide.
use foldhash::fast::RandomState;

/// How many shelves a map has. With a million entries each holds about a thousand,
/// so a change copies about 100 KiB.
const SHELVES: usize = 1024;

/// An immutable map in shelves; [`Shelf::with`] gives a changed one
/// that shares every shelf but one with this one.
#[derive(Debug)]
pub struct Shelf<K, V> {
    shelves: Arc<[Arc<HashMap<K, V, RandomState>>]>,
    hasher: RandomState,
    len: usize,
}

impl<K, V> Clone for Shelf<K, V> {
    fn clone(&self) -> Self {
        Self {
            shelves: Arc::clone(&self.shelves),
            hasher: self.hasher.clone(),
            len: self.len,
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Default for Shelf<K, V> {
    fn default() -> Self {
        Self::build([])
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Shelf<K, V> {
    /// Builds the whole map at once; of two entries with one key the later stays.
    pub fn build(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let hasher = RandomState::default();
        let mut shelves: Vec<HashMap<K, V, RandomState>> = (0..SHELVES)
            .map(|_| HashMap::with_hasher(hasher.clone()))
            .collect();
        for (key, value) in entries {
            let place = place(&hasher, &key);
            if let Some(shelf) = shelves.get_mut(place) {
                shelf.insert(key, value);
            }
        }
        let len = shelves.iter().map(HashMap::len).sum();
        Self {
            shelves: shelves.into_iter().map(Arc::new).collect(),
            hasher,
            len,
        }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.shelves.get(place(&self.hasher, key))?.get(key)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shelves.iter().flat_map(|shelf| shelf.iter())
    }

    /// This map with `key` set to `value`.
    #[must_use]
    pub fn with(&self, key: K, value: V) -> Self {
        let place = place(&self.hasher, &key);
        self.changed(place, |shelf| {
            shelf.insert(key, value);
        })
    }

    /// This map without `key`.
    #[cfg(test)]
    #[must_use]
    pub fn without(&self, key: &K) -> Self {
        self.changed(place(&self.hasher, key), |shelf| {
            shelf.remove(key);
        })
    }

    fn changed(&self, place: usize, change: impl FnOnce(&mut HashMap<K, V, RandomState>)) -> Self {
        let mut shelves: Vec<_> = self.shelves.to_vec();
        let mut len = self.len;
        if let Some(slot) = shelves.get_mut(place) {
            let mut changed = HashMap::clone(slot);
            len -= changed.len();
            change(&mut changed);
            len += changed.len();
            *slot = Arc::new(changed);
        }
        Self {
            shelves: shelves.into(),
            hasher: self.hasher.clone(),
            len,
        }
    }
}

/// Takes the upper bits: the map inside a shelf takes the lower ones of the same hash.
fn place<K: Hash>(hasher: &RandomState, key: &K) -> usize {
    let upper = hasher.hash_one(key) >> 32;
    usize::try_from(upper).unwrap_or(0) % SHELVES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_map(changes in proptest::collection::vec((any::<bool>(), 0_u16..200, any::<u8>()), 0..200)) {
            let mut model = HashMap::new();
            let mut shelf = Shelf::default();
            for (set, key, value) in changes {
                if set {
                    model.insert(key, value);
                    shelf = shelf.with(key, value);
                } else {
                    model.remove(&key);
                    shelf = shelf.without(&key);
                }
            }
            prop_assert_eq!(shelf.len(), model.len());
            let seen: HashMap<u16, u8> = shelf.iter().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(&seen, &model);
            for key in 0..200 {
                prop_assert_eq!(shelf.get(&key), model.get(&key));
            }
        }
    }

    #[test]
    fn a_change_leaves_the_old_map_as_it_was() {
        let old = Shelf::build([(1, "one")]);
        let new = old.with(1, "uno").with(2, "due");
        assert_eq!((old.get(&1), old.get(&2)), (Some(&"one"), None));
        assert_eq!((new.get(&1), new.get(&2)), (Some(&"uno"), Some(&"due")));
    }
}
