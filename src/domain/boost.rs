//! Boosts: the limits of an App, raised by a factor until a date.

use super::factor::Factor;
use super::id::{BoostId, KeyId};
use super::limit::{Limit, Per};
use super::name::Name;
use super::time::Timestamp;

/// The most boosts that an App has at the same time: each of its requests looks at all.
pub const BOOSTS_MAX: usize = 8;

/// A boost of an App's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boost {
    pub id: BoostId,
    /// The only key that it is for; all of the App's when absent.
    pub key: Option<KeyId>,
    /// The only limit that it raises; all that count the App, its keys or its users when absent.
    pub limit: Option<Name>,
    pub factor: Factor,
    pub until: Timestamp,
    pub created_at: Timestamp,
}

impl Boost {
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// True if the boost raises this limit for a caller with this key. A limit of an address or of a whole route counts
    /// other Apps' requests too, so no boost raises it.
    fn raises(&self, limit: &Limit, key: Option<KeyId>, now: Timestamp) -> bool {
        matches!(limit.per(), Per::App | Per::Key | Per::User)
            && self.is_live(now)
            && self.limit.as_ref().is_none_or(|name| name == limit.name())
            && (self.key.is_none() || self.key == key)
    }
}

/// The greatest factor of those boosts that raise this limit now.
pub fn factor(
    boosts: &[Boost],
    limit: &Limit,
    key: Option<KeyId>,
    now: Timestamp,
) -> Option<Factor> {
    let raising = boosts.iter().filter(|boost| boost.raises(limit, key, now));
    raising.map(|boost| boost.factor).max()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::rate::Rate;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn boost(factor: &str) -> Boost {
        Boost {
            id: BoostId::from_bits(1),
            key: None,
            limit: None,
            factor: factor.parse().unwrap(),
            until: NOW.plus(Duration::from_secs(9)),
            created_at: NOW,
        }
    }

    fn limit(name: &str, per: Per) -> Limit {
        Limit::new(name.parse().unwrap(), per, Rate::parse("10/s").unwrap())
    }

    #[test]
    fn a_boost_raises_what_it_names_and_until_its_end() {
        let key = Some(KeyId::from_bits(7));
        let (orders, all) = (limit("orders", Per::Key), limit("all", Per::Route));
        let one = [boost("3")];
        let of = |boosts: &[Boost], limit, key, now| {
            factor(boosts, limit, key, now).map(Factor::hundredths)
        };
        assert_eq!(of(&one, &orders, key, NOW), Some(300));
        assert_eq!(of(&one, &orders, None, NOW), Some(300));
        assert_eq!(of(&one, &all, key, NOW), None, "others use it too");
        assert_eq!(of(&one, &orders, key, one[0].until), None);
        let narrow = [
            Boost {
                key,
                limit: Some("orders".parse().unwrap()),
                ..boost("5")
            },
            boost("2"),
        ];
        assert_eq!(of(&narrow, &orders, key, NOW), Some(500));
        assert_eq!(of(&narrow, &orders, None, NOW), Some(200));
        let other = limit("other", Per::User);
        assert_eq!(of(&narrow, &other, key, NOW), Some(200));
        assert_eq!(of(&[], &orders, key, NOW), None);
    }
}
