//! The oddities of a path that gateways and upstreams are known to read in different ways.

use serde::{Deserialize, Serialize};

/// One kind of ambiguity of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    Backslashes,
    DotSegments,
    EmptySegments,
    EncodedPercents,
    EncodedSlashes,
    Lookalikes,
    NotUtf8,
    Semicolons,
}

impl Oddity {
    pub const ALL: [Self; 8] = [
        Self::Backslashes,
        Self::DotSegments,
        Self::EmptySegments,
        Self::EncodedPercents,
        Self::EncodedSlashes,
        Self::Lookalikes,
        Self::NotUtf8,
        Self::Semicolons,
    ];

    /// The word for it in the configuration, in answers and in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backslashes => "backslashes",
            Self::DotSegments => "dot_segments",
            Self::EmptySegments => "empty_segments",
            Self::EncodedPercents => "encoded_percents",
            Self::EncodedSlashes => "encoded_slashes",
            Self::Lookalikes => "lookalikes",
            Self::NotUtf8 => "not_utf8",
            Self::Semicolons => "semicolons",
        }
    }

    /// The detail for the caller.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Backslashes => "The path holds a backslash, which some servers read as a slash",
            Self::DotSegments => "A segment of the path reads as '.' or '..'",
            Self::EmptySegments => "A segment of the path is empty",
            Self::EncodedPercents => "The path holds an encoded percent sign",
            Self::EncodedSlashes => "The path holds an encoded slash",
            Self::Lookalikes => {
                "The path holds a character that some servers read as one of . / \\ % ; # ?"
            }
            Self::NotUtf8 => "The path holds a byte that is not part of UTF-8 text",
            Self::Semicolons => {
                "The path holds a semicolon, behind which some servers read parameters"
            }
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Oddities(u8);

impl Oddities {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(u8::MAX);

    pub const fn contains(self, kind: Oddity) -> bool {
        self.0 & kind.bit() != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn insert(&mut self, kind: Oddity) {
        self.0 |= kind.bit();
    }

    pub fn iter(self) -> impl Iterator<Item = Oddity> {
        let listed = move |kind: &Oddity| self.contains(*kind);
        Oddity::ALL.into_iter().filter(listed)
    }
}

impl FromIterator<Oddity> for Oddities {
    fn from_iter<I: IntoIterator<Item = Oddity>>(kinds: I) -> Self {
        let mut set = Self::NONE;
        for kind in kinds {
            set.insert(kind);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_into_it() {
        let all: Oddities = Oddity::ALL.into_iter().collect();
        assert_eq!(all, Oddities::ALL);
        for kind in Oddity::ALL {
            let one: Oddities = [kind].into_iter().collect();
            assert!(one.iter().eq([kind]), "{kind:?}");
            assert_eq!(
                serde_json::to_value(kind).unwrap(),
                serde_json::Value::from(kind.as_str())
            );
        }
        assert!(Oddities::NONE.is_empty());
    }
}
