//! Names that people give to things.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name of 1 to 30 characters: lower-case letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
///
/// Short and plain because it goes into certificates, headers, logs and file names without being escaped anywhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// The most characters that a name has.
pub const NAME_CHARS_MAX: usize = 30;

/// A text that is not a [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name has 1 to 30 characters from a-z, 0-9, '-', '_' and '.', and begins with a letter or digit"
)]
pub struct InvalidName;

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let begins_well = text.bytes().next().is_some_and(plain);
        let fits = text.len() <= NAME_CHARS_MAX;
        if begins_well
            && fits
            && text
                .bytes()
                .all(|byte| plain(byte) || b"-_.".contains(&byte))
        {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName)
        }
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_short_and_plain() {
        let longest = "a".repeat(30);
        let too_long = "a".repeat(31);
        for good in ["acme", "acme-prod", "3m", "a.b_c", &longest] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-acme", "Acme", "a b", "a\r\nb", "ä", "a/b", &too_long] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_what_needs_no_escape_and_nothing_else_is(
            text in prop_oneof!["\\PC{0,40}", "[a-z0-9._-]{0,40}", "[a-zA-Z0-9._-]{0,10}"],
        ) {
            let mut letters = text.chars();
            let begins = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
            let good = letters.next().is_some_and(begins)
                && letters.all(|letter| begins(letter) || "-_.".contains(letter))
                && text.len() <= NAME_CHARS_MAX;
            prop_assert_eq!(text.parse::<Name>().is_ok(), good);
            if let Ok(name) = text.parse::<Name>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
