//! The index of a snapshot's keys: what a request asks about without naming a key.

use std::collections::HashMap;

use super::api_key::SecretDigest;
use super::id::KeyId;
use super::origin::{OriginPattern, patterns_of};
use super::shelf::Shelf;

/// The index of all keys. It is derived from them, and changes with them.
#[derive(Clone, Debug, Default)]
pub struct KeyIndex {
    /// The number of valid keys that list each origin.
    origins: Shelf<OriginPattern, u32>,
    /// The keys that another system made, by the digest of their text.
    imported: Shelf<SecretDigest, KeyId>,
}

/// A key as the index sees it.
pub trait Indexed {
    /// The origins that a valid key lists.
    fn origins(&self) -> &[OriginPattern];

    /// The digest of a text that another system made.
    fn imported(&self) -> Option<SecretDigest>;
}

impl KeyIndex {
    /// The index with changed keys; each comes with its value before, if it had one.
    #[must_use]
    pub fn with<'k, K: Indexed + 'k>(
        &self,
        changed: impl IntoIterator<Item = (KeyId, Option<&'k K>, &'k K)>,
    ) -> Self {
        let mut counts: HashMap<&OriginPattern, u32> = HashMap::new();
        let mut imported = Vec::new();
        for (id, before, after) in changed {
            let stored = |origin: &OriginPattern| self.origins.get(origin).copied().unwrap_or(0);
            for origin in before.map_or(&[][..], K::origins) {
                let count = counts.entry(origin).or_insert_with(|| stored(origin));
                *count = count.saturating_sub(1);
            }
            for origin in after.origins() {
                let count = counts.entry(origin).or_insert_with(|| stored(origin));
                *count = count.saturating_add(1);
            }
            imported.extend(after.imported().map(|digest| (digest, id)));
        }
        let mut next = self.clone();
        // Most keys are in neither list, and a change of nothing would copy the list of shelves.
        if !counts.is_empty() {
            let counts = counts.into_iter();
            next.origins = next
                .origins
                .with_all(counts.map(|(origin, count)| (origin.clone(), count)));
        }
        if !imported.is_empty() {
            next.imported = next.imported.with_all(imported);
        }
        next
    }

    /// True if a valid key lists the origin, so that a browser may ask what its pages may do.
    pub fn lists(&self, origin: &str) -> bool {
        let counts =
            |pattern: &OriginPattern| self.origins.get(pattern).is_some_and(|count| *count > 0);
        !self.origins.is_empty() && patterns_of(origin).iter().flatten().any(counts)
    }

    /// True if any key was made by another system.
    pub fn has_imported(&self) -> bool {
        !self.imported.is_empty()
    }

    /// The key that another system made, by the digest of its text.
    pub fn imported(&self, digest: &SecretDigest) -> Option<KeyId> {
        self.imported.get(digest).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Key(Vec<OriginPattern>, Option<SecretDigest>);

    impl Indexed for Key {
        fn origins(&self) -> &[OriginPattern] {
            &self.0
        }

        fn imported(&self) -> Option<SecretDigest> {
            self.1
        }
    }

    fn key(origins: &[&str]) -> Key {
        Key(
            origins
                .iter()
                .map(|origin| origin.parse().unwrap())
                .collect(),
            None,
        )
    }

    #[test]
    fn an_origin_is_listed_for_as_long_as_a_valid_key_lists_it() {
        let (one, two) = (KeyId::from_bits(1), KeyId::from_bits(2));
        let (shop, both) = (
            key(&["https://shop.example"]),
            key(&["https://shop.example", "https://*.a.example"]),
        );
        let none = key(&[]);
        let index = KeyIndex::default();
        assert!(!index.lists("https://shop.example"));
        let index = index.with([(one, None, &shop), (two, None, &both)]);
        assert!(index.lists("https://shop.example") && index.lists("https://b.a.example"));
        assert!(!index.lists("https://other.example") && !index.lists("null") && !index.lists(""));
        let index = index.with([(two, Some(&both), &none)]);
        assert!(index.lists("https://shop.example") && !index.lists("https://b.a.example"));
        let index = index.with([(one, Some(&shop), &shop), (one, Some(&shop), &none)]);
        assert!(!index.lists("https://shop.example"));
        let any = index.with([(one, Some(&none), &key(&["*"]))]);
        assert!(any.lists("https://other.example") && !any.lists("null"));
    }

    #[test]
    fn a_key_of_another_system_is_found_by_its_digest() {
        let digest = SecretDigest([7; 32]);
        let index = KeyIndex::default();
        assert!(!index.has_imported());
        let index = index.with([(KeyId::from_bits(3), None, &Key(Vec::new(), Some(digest)))]);
        assert!(index.has_imported());
        assert_eq!(index.imported(&digest), Some(KeyId::from_bits(3)));
        assert_eq!(index.imported(&SecretDigest([8; 32])), None);
    }
}
