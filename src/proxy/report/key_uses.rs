//! A worker's notes of the last use of each key, until the control plane takes them.

use std::cell::RefCell;

use foldhash::HashMap;

use crate::domain::api_key::KeyUse;
use crate::domain::id::KeyId;

/// The keys that are noted between two questions of the control plane, which come once a minute. Uses of further keys
/// are noted after it: a last use is then a minute late.
const NOTED_MAX: usize = 65_536;

/// The notes of one worker. Nothing else reads them, so that no request waits for a lock.
#[derive(Debug, Default)]
pub struct KeyUses {
    noted: RefCell<HashMap<KeyId, KeyUse>>,
}

impl KeyUses {
    pub fn note(&self, key: KeyId, used: KeyUse) {
        let mut noted = self.noted.borrow_mut();
        if noted.len() < NOTED_MAX || noted.contains_key(&key) {
            noted.insert(key, used);
        }
    }

    /// The uses since the last question.
    pub fn take(&self) -> Vec<(KeyId, KeyUse)> {
        self.noted.take().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn the_last_use_of_each_key_is_given_out_once_and_their_number_is_bounded() {
        let at = |second| KeyUse {
            at: Timestamp::from_unix_seconds(second),
            from: [192, 0, 2, 1].into(),
            route: "orders".into(),
        };
        let uses = KeyUses::default();
        let first = KeyId::from_bits(0);
        for number in 0..=NOTED_MAX {
            uses.note(KeyId::from_bits(number.try_into().unwrap()), at(1));
        }
        uses.note(first, at(2));
        let taken = uses.take();
        assert_eq!(taken.len(), NOTED_MAX);
        assert!(taken.contains(&(first, at(2))));
        assert!(uses.take().is_empty());
    }
}
