//! Scopes: what a caller may do, as OAuth names it (RFC 6749, 3.3).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The most characters of one scope; the standard sets no bound, so this is ours.
const SCOPE_CHARS_MAX: usize = 64;

/// The most scopes in a set: what one header and one token can carry in comfort.
pub const SCOPES_MAX: usize = 64;

/// The beginning of the gateway's own scopes.
const OWN: &str = "countersign:";

/// Allows a Key to vouch for users.
pub const VOUCH: &str = "countersign:vouch";

/// Allows a Key to ask about tokens (RFC 7662).
pub const INTROSPECT: &str = "countersign:introspect";

/// One permission, for example `orders:read`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(Arc<str>);

/// A text that is not a scope, or too many of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    #[error("a scope has 1 to 64 characters from A-Z, a-z, 0-9 and '_:./-'")]
    Spelling,
    #[error("there are more than 64 scopes")]
    TooMany,
}

impl Scope {
    /// True for a scope of the gateway itself; no catalogue has to name it.
    pub fn is_ours(&self) -> bool {
        self.as_str().starts_with(OWN)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_:./-".contains(&byte);
        if (1..=SCOPE_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidScope::Spelling)
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0.as_ref().to_owned()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A set of scopes, in order and without repetition. Cloning one is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Scope>", into = "Vec<Scope>")]
pub struct ScopeSet(Arc<[Scope]>);

impl ScopeSet {
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, InvalidScope> {
        let sorted: std::collections::BTreeSet<Scope> = scopes.into_iter().collect();
        if sorted.len() > SCOPES_MAX {
            return Err(InvalidScope::TooMany);
        }
        Ok(Self(sorted.into_iter().collect()))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.binary_search(scope).is_ok()
    }

    /// These scopes without those of the gateway itself, which begin with `countersign:`. They allow a Key something at
    /// the token endpoint and its neighbours, and no upstream has to know of them.
    #[must_use]
    pub fn without_own(&self) -> Self {
        if self.iter().any(Scope::is_ours) {
            Self(
                self.iter()
                    .filter(|scope| !scope.is_ours())
                    .cloned()
                    .collect(),
            )
        } else {
            self.clone()
        }
    }

    /// True if every scope of `other` is in this set.
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|scope| self.contains(scope))
    }
}

/// Scopes separated by single blanks, as in a token.
impl std::str::FromStr for ScopeSet {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let scopes: Result<Vec<Scope>, _> = text
            .split(' ')
            .filter(|part| !part.is_empty())
            .take(SCOPES_MAX + 1)
            .map(str::parse)
            .collect();
        Self::new(scopes?)
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, scope) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl TryFrom<Vec<Scope>> for ScopeSet {
    type Error = InvalidScope;

    fn try_from(scopes: Vec<Scope>) -> Result<Self, Self::Error> {
        Self::new(scopes)
    }
}

impl From<ScopeSet> for Vec<Scope> {
    fn from(set: ScopeSet) -> Self {
        set.0.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(text: &str) -> ScopeSet {
        text.parse().unwrap()
    }

    #[test]
    fn a_set_is_sorted_and_has_no_repetition() {
        assert_eq!(set("b a  b").to_string(), "a b");
        assert_eq!(set(""), ScopeSet::default());
    }

    #[test]
    fn a_set_covers_its_subsets_only() {
        assert!(set("a b c").covers(&set("a c")));
        assert!(set("a").covers(&set("")));
        assert!(!set("a b").covers(&set("a d")));
    }

    #[test]
    fn scopes_of_the_gateway_itself_can_be_left_out() {
        let all = set("a countersign:vouch countersign:introspect countersigned");
        assert_eq!(all.without_own(), set("a countersigned"));
        assert_eq!(set("a b").without_own(), set("a b"));
    }

    #[test]
    fn odd_scopes_are_refused() {
        for bad in ["a\"b", "a\\b", "ä", "a\r\nb", &"a".repeat(65)] {
            assert_eq!(
                bad.parse::<ScopeSet>(),
                Err(InvalidScope::Spelling),
                "{bad:?}"
            );
        }
        let many: Vec<String> = (0..65).map(|n| format!("s{n}")).collect();
        assert_eq!(
            many.join(" ").parse::<ScopeSet>(),
            Err(InvalidScope::TooMany)
        );
    }

    fn is_scope(text: &str) -> bool {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_:./-".contains(letter);
        (1..=64).contains(&text.len()) && text.chars().all(plain)
    }

    proptest! {
        #[test]
        fn a_scope_is_of_plain_letters_and_nothing_else_is(text in "\\PC{0,70}") {
            prop_assert_eq!(text.parse::<Scope>().is_ok(), is_scope(&text));
        }

        #[test]
        fn a_set_is_written_as_it_is_read(text in "[a-cA-C:. ]{0,40}") {
            let read: ScopeSet = text.parse().unwrap();
            let written = read.to_string();
            prop_assert_eq!(written.parse::<ScopeSet>(), Ok(read.clone()));
            let words: BTreeSet<&str> = text.split_ascii_whitespace().collect();
            prop_assert_eq!(read.iter().map(Scope::as_str).collect::<Vec<_>>(), Vec::from_iter(words));
        }

        #[test]
        fn covering_is_having_every_one(one in "[a-d ]{0,9}", other in "[a-d ]{0,9}") {
            let words = |text: &str| -> BTreeSet<String> {
                text.split_ascii_whitespace().map(str::to_owned).collect()
            };
            let expected = words(&other).is_subset(&words(&one));
            prop_assert_eq!(set(&one).covers(&set(&other)), expected);
        }

        #[test]
        fn no_more_than_64_are_a_set(count in 0..130_usize) {
            let many: Vec<String> = (0..count).map(|n| format!("s{n}")).collect();
            prop_assert_eq!(many.join(" ").parse::<ScopeSet>().is_ok(), count <= SCOPES_MAX);
        }
    }
}
