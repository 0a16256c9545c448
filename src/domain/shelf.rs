//! A map that many read while it is replaced: a change copies one shelf, not the whole.

use std::convert::Infallible;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

// The keys are digests and ids of our own making, so nobody can choose them to collide.
use foldhash::quality::RandomState;

/// The least and the greatest number of shelves of a map, powers of two. With a million entries, each of the most holds
/// about 120, so that a change copies 16 KiB of them, and the list of shelves.
const SHELVES_MIN: usize = 64;
const SHELVES_MAX: usize = 8192;

/// The entries for which a shelf is made. A map of more than twice as many for each of its shelves gets more shelves.
const PER_SHELF: usize = 16;

/// The number of shelves for so many entries: few for a small map, of which a change copies the list.
fn shelves_for(entries: usize) -> usize {
    let shelves = (entries / PER_SHELF).next_power_of_two();
    shelves.clamp(SHELVES_MIN, SHELVES_MAX)
}

/// An immutable map in shelves; [`Shelf::with_all`] gives a changed one, which shares every shelf that stayed the same.
///
/// A hash table would keep a tenth to a half of its places empty. Entries that stand in the order of a part of their
/// hash are found nearly as fast, and take what they are large.
#[derive(Debug)]
pub struct Shelf<K, V> {
    shelves: Arc<[Arc<Entries<K, V>>]>,
    hasher: RandomState,
    len: usize,
}

/// The entries of one shelf. `tags` and `entries` have the same order, sorted by tag.
#[derive(Debug)]
struct Entries<K, V> {
    tags: Vec<u16>,
    entries: Vec<(K, V)>,
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

/// Two maps are alike when they hold the same, however it is spread over their shelves.
impl<K: Hash + Eq + Clone, V: Clone + PartialEq> PartialEq for Shelf<K, V> {
    fn eq(&self, other: &Self) -> bool {
        let same = |(key, value)| other.get(key) == Some(value);
        self.len == other.len && self.iter().all(same)
    }
}

impl<K: Hash + Eq + Clone, V: Clone + Eq> Eq for Shelf<K, V> {}

impl<K: Hash + Eq + Clone, V: Clone> Shelf<K, V> {
    /// Builds the whole map at once; of two entries with one key the later stays.
    pub fn build(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let entries = entries.into_iter();
        let (expected, _) = entries.size_hint();
        match Self::try_build(expected, entries.map(Ok::<_, Infallible>)) {
            Ok(shelf) => shelf,
            Err(never) => match never {},
        }
    }

    /// The same, of about `expected` entries that come one by one and may fail to; the first failure ends it.
    pub fn try_build<E>(
        expected: usize,
        entries: impl IntoIterator<Item = Result<(K, V), E>>,
    ) -> Result<Self, E> {
        let hasher = RandomState::default();
        let count = shelves_for(expected);
        // Chance puts more on one shelf than on another; a quarter more is rare where there are a hundred.
        let room = expected / count * 5 / 4;
        let mut shelves: Vec<Entries<K, V>> =
            (0..count).map(|_| Entries::with_room(room)).collect();
        for entry in entries {
            let (key, value) = entry?;
            let (place, tag) = find(&hasher, count, &key);
            if let Some(shelf) = shelves.get_mut(place) {
                shelf.tags.push(tag);
                shelf.entries.push((key, value));
            }
        }
        let mut len = 0;
        // Most maps are small: what is empty takes one place in memory.
        let empty = Arc::new(Entries::with_room(0));
        let mut shared = |entries: Entries<K, V>| {
            if entries.len() == 0 {
                return Arc::clone(&empty);
            }
            let entries = entries.ordered();
            len += entries.len();
            Arc::new(entries)
        };
        let shelves = shelves.into_iter().map(&mut shared).collect();
        let built = Self {
            shelves,
            hasher,
            len,
        };
        Ok(built.grown())
    }

    /// The same map with more shelves, if it has grown out of its own. This copies every entry, once for each doubling.
    fn grown(self) -> Self {
        let count = self.shelves.len();
        if count == SHELVES_MAX || self.len <= count * PER_SHELF * 2 {
            return self;
        }
        let copied = self
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .map(Ok::<_, Infallible>);
        match Self::try_build(self.len, copied) {
            Ok(grown) => grown,
            Err(never) => match never {},
        }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        let (place, tag) = find(&self.hasher, self.shelves.len(), key);
        self.shelves.get(place)?.get(tag, key)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let entries = self.shelves.iter().flat_map(|shelf| &shelf.entries);
        entries.map(|(key, value)| (key, value))
    }

    /// This map with `key` set to `value`.
    #[must_use]
    #[cfg(test)]
    pub fn with(&self, key: K, value: V) -> Self {
        self.with_all([(key, value)])
    }

    /// This map with all these set, in their order. The list of shelves is copied once for all of them.
    #[must_use]
    pub fn with_all(&self, entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut entries = entries.into_iter().peekable();
        if entries.peek().is_none() {
            return self.clone();
        }
        let mut draft = Draft::of(self);
        for (key, value) in entries {
            let (place, tag) = find(&self.hasher, self.shelves.len(), &key);
            draft.change(place, |shelf| shelf.set(tag, key, value));
        }
        draft.finish(&self.hasher).grown()
    }

    /// This map without `key`.
    #[cfg(test)]
    #[must_use]
    pub fn without(&self, key: &K) -> Self {
        let (place, tag) = find(&self.hasher, self.shelves.len(), key);
        let mut draft = Draft::of(self);
        draft.change(place, |shelf| shelf.remove(tag, key));
        draft.finish(&self.hasher)
    }
}

/// A map that is being changed: a copy of the list, which shares the shelves that stay the same.
#[derive(Debug)]
struct Draft<K, V> {
    shelves: Vec<Arc<Entries<K, V>>>,
    len: usize,
}

impl<K: Eq + Clone, V: Clone> Draft<K, V> {
    fn of(shelf: &Shelf<K, V>) -> Self {
        Self {
            shelves: shelf.shelves.to_vec(),
            len: shelf.len,
        }
    }

    fn change(&mut self, place: usize, change: impl FnOnce(&mut Entries<K, V>)) {
        let Some(slot) = self.shelves.get_mut(place) else {
            return;
        };
        self.len -= slot.len();
        // A shelf that this draft has copied already is its own.
        if let Some(own) = Arc::get_mut(slot) {
            own.make_room(1);
            change(own);
        } else {
            let mut changed = slot.copy(1);
            change(&mut changed);
            *slot = Arc::new(changed);
        }
        self.len += slot.len();
    }

    fn finish(self, hasher: &RandomState) -> Shelf<K, V> {
        Shelf {
            shelves: self.shelves.into(),
            hasher: hasher.clone(),
            len: self.len,
        }
    }
}

impl<K: Eq + Clone, V: Clone> Entries<K, V> {
    fn with_room(room: usize) -> Self {
        Self {
            tags: Vec::with_capacity(room),
            entries: Vec::with_capacity(room),
        }
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn get(&self, tag: u16, key: &K) -> Option<&V> {
        let place = self.place(tag, key).ok()?;
        self.entries.get(place).map(|(_, value)| value)
    }

    /// The position of `key`, or the position where it would be inserted.
    fn place(&self, tag: u16, key: &K) -> Result<usize, usize> {
        let mut place = self.first(tag);
        while self.tags.get(place) == Some(&tag) {
            match self.entries.get(place) {
                Some((other, _)) if other == key => return Ok(place),
                _ => place += 1,
            }
        }
        Err(place)
    }

    /// The position where the entries with this tag begin, or would. Tags are parts of hashes, so they are spread evenly
    /// and a guess is off by a few places.
    fn first(&self, tag: u16) -> usize {
        let guess = (usize::from(tag) * self.tags.len()) >> u16::BITS;
        let (before, after) = self.tags.split_at(guess);
        let too_far = before.iter().rev().take_while(|other| **other >= tag);
        let too_near = after.iter().take_while(|other| **other < tag);
        guess - too_far.count() + too_near.count()
    }

    fn set(&mut self, tag: u16, key: K, value: V) {
        match self.place(tag, &key) {
            Ok(place) => {
                if let Some(entry) = self.entries.get_mut(place) {
                    entry.1 = value;
                }
            }
            Err(place) => {
                self.tags.insert(place, tag);
                self.entries.insert(place, (key, value));
            }
        }
    }

    #[cfg(test)]
    fn remove(&mut self, tag: u16, key: &K) {
        if let Ok(place) = self.place(tag, key) {
            self.tags.remove(place);
            self.entries.remove(place);
        }
    }

    /// The map of entries in the order of insertion, as [`Self::set`] would build it one by one.
    ///
    /// Setting moves half of a shelf for each entry, which of a million takes longer than reading them.
    /// It is a copy, since allocators leave a list that shrinks where it is, with up to half of its room unused.
    fn ordered(&self) -> Self {
        let mut order: Vec<(u16, usize)> = self.tags.iter().copied().zip(0..).collect();
        order.sort_unstable();
        let mut ordered = Self::with_room(order.len());
        for (tag, place) in order {
            if let Some((key, value)) = self.entries.get(place) {
                ordered.append(tag, key, value);
            }
        }
        ordered
    }

    /// Sets an entry whose tag is not less than any before.
    fn append(&mut self, tag: u16, key: &K, value: &V) {
        let alike = self.tags.iter().rev().take_while(|other| **other == tag);
        let first = self.len() - alike.count();
        let known = self.entries.get_mut(first..).unwrap_or_default();
        if let Some(entry) = known.iter_mut().find(|(other, _)| other == key) {
            entry.1 = value.clone();
            return;
        }
        self.tags.push(tag);
        self.entries.push((key.clone(), value.clone()));
    }

    /// Makes room for so many more, and for no more than that.
    fn make_room(&mut self, more: usize) {
        self.tags.reserve_exact(more);
        self.entries.reserve_exact(more);
    }

    /// A copy with room for so many more, and for no more than that.
    fn copy(&self, more: usize) -> Self {
        let mut copy = Self::with_room(self.len() + more);
        copy.tags.extend_from_slice(&self.tags);
        copy.entries.extend_from_slice(&self.entries);
        copy
    }
}

/// The one of `count` shelves for a key, and the key's tag there: two parts of its hash that have nothing in common.
/// `count` is a power of two.
fn find<K: Hash>(hasher: &RandomState, count: usize, key: &K) -> (usize, u16) {
    let hash = hasher.hash_one(key);
    let place = usize::try_from(hash >> 32).unwrap_or(0) & count.wrapping_sub(1);
    (place, u16::try_from(hash & 0xffff).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

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

    proptest! {
        #[test]
        fn what_is_built_at_once_is_as_if_set_one_by_one(
            entries in proptest::collection::vec((0_u16..4, 0_u8..9, any::<u8>()), 0..60),
        ) {
            let (mut gathered, mut set) = (Entries::with_room(0), Entries::with_room(0));
            for (tag, key, value) in entries {
                // Keys that are equal have equal tags.
                let key = (tag, key);
                gathered.tags.push(tag);
                gathered.entries.push((key, value));
                set.set(tag, key, value);
            }
            let ordered = gathered.ordered();
            prop_assert_eq!(ordered.tags, set.tags);
            prop_assert_eq!(ordered.entries, set.entries);
        }
    }

    #[test]
    fn entries_whose_tags_are_alike_are_told_apart() {
        let mut entries = Entries::with_room(0);
        for (tag, key) in [(7, "a"), (3, "b"), (7, "c"), (9, "d"), (7, "e")] {
            entries.set(tag, key, key);
        }
        entries.set(7, "c", "new");
        assert_eq!(entries.tags, [3, 7, 7, 7, 9]);
        assert_eq!(entries.get(7, &"c"), Some(&"new"));
        assert_eq!(entries.get(7, &"e"), Some(&"e"));
        assert_eq!(entries.get(7, &"d"), None);
        entries.remove(7, &"a");
        assert_eq!(entries.tags, [3, 7, 7, 9]);
        assert_eq!(entries.get(7, &"c"), Some(&"new"));
    }

    #[test]
    fn a_changed_map_has_room_for_nothing_that_is_not_there() {
        let shelf = Shelf::build((0..100_000).map(|key| (key, ())));
        let changed = shelf.with(100_000, ()).with(1, ());
        for shelf in changed.shelves.iter() {
            assert!(shelf.entries.capacity() <= shelf.len() + 1);
        }
        assert_eq!(changed.len(), 100_001);
    }

    #[test]
    fn a_map_gets_more_shelves_as_it_grows_and_loses_nothing() {
        let mut shelf = Shelf::default();
        for from in (0..20_000_u32).step_by(250) {
            shelf = shelf.with_all((from..from + 250).map(|key| (key, key)));
        }
        let count = shelf.shelves.len();
        assert!(count.is_power_of_two() && count > SHELVES_MIN, "{count}");
        assert!(shelf.len() <= count * PER_SHELF * 2, "{count}");
        assert!((0..20_000).all(|key| shelf.get(&key) == Some(&key)));
        assert_eq!(shelf.get(&20_000), None);
        // The number of entries is not known beforehand here.
        let gathered = Shelf::build((0..20_000_u32).filter(|_| true).map(|key| (key, key)));
        assert_eq!(gathered, shelf);
        assert!(gathered.len() <= gathered.shelves.len() * PER_SHELF * 2);
    }

    #[test]
    fn the_number_of_shelves_has_bounds() {
        for (entries, shelves) in [
            (0, 64),
            (1_024, 64),
            (1_040, 128),
            (10_000, 1_024),
            (1_000_000, 8_192),
            (10_000_000, 8_192),
        ] {
            assert_eq!(shelves_for(entries), shelves, "{entries}");
        }
    }

    #[test]
    fn the_first_failure_ends_the_building() {
        let entries = [Ok((1, 1)), Err("no"), Err("never came")];
        assert_eq!(Shelf::try_build(3, entries).unwrap_err(), "no");
    }

    #[test]
    fn a_change_leaves_the_old_map_as_it_was() {
        let old = Shelf::build([(1, "one")]);
        let new = old.with(1, "uno").with(2, "due");
        assert_eq!((old.get(&1), old.get(&2)), (Some(&"one"), None));
        assert_eq!((new.get(&1), new.get(&2)), (Some(&"uno"), Some(&"due")));
    }
}
