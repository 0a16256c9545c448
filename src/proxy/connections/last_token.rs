//! A one-entry cache for the token of a connection and its digest, so that it is not hashed for each request.

use std::cell::{Cell, RefCell};

use crate::crypto::hash;
use crate::domain::secret::Secret;

/// Bytes of a token that are kept. Ours have about 650; a longer one is hashed each time.
const KEPT_MAX: usize = 4096;

/// The token that was last valid on a connection.
///
/// It answers one question: the digest of these bytes. By that digest the verifier finds its remembered tokens, or not;
/// whether the token is valid is decided there as if every byte had been hashed.
#[derive(Debug, Default)]
pub struct LastToken {
    /// Boxed, because most connections have no token or one request.
    kept: RefCell<Option<Box<Kept>>>,
    /// The beginning of the last valid token's digest, kept or not.
    latest: Cell<u64>,
}

#[derive(Debug)]
struct Kept {
    token: Secret,
    digest: [u8; 32],
}

impl LastToken {
    /// SHA-256 of `token`.
    pub fn digest(&self, token: &str) -> [u8; 32] {
        match self.kept.borrow().as_deref() {
            Some(kept) if kept.is(token) => kept.digest,
            _ => hash::sha256(token.as_bytes()),
        }
    }

    /// Reports that `token` was valid, whose SHA-256 is `digest`.
    ///
    /// It is kept when it was valid twice in a row: clients that show several in turns would only pay for the copies,
    /// and a connection that waits after its first request holds none.
    pub fn counted(&self, token: &str, digest: &[u8; 32]) {
        let begins = digest
            .first_chunk()
            .map_or(0, |begins| u64::from_le_bytes(*begins));
        let again = self.latest.replace(begins) == begins;
        let mut kept = self.kept.borrow_mut();
        let known = kept.as_ref().is_some_and(|kept| kept.digest == *digest);
        if again && !known && token.len() <= KEPT_MAX {
            *kept = Some(Box::new(Kept {
                token: Secret::new(token.to_owned()),
                digest: *digest,
            }));
        }
    }

    /// Reports that a token was not valid: the kept one is wiped.
    pub fn refused(&self) {
        self.latest.set(0);
        self.kept.take();
    }
}

impl Kept {
    /// In constant time: a shared hop may carry the guesses of an attacker.
    fn is(&self, token: &str) -> bool {
        hash::constant_time_eq(self.token.expose().as_bytes(), token.as_bytes())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// True if `last` would not hash `token`.
    pub fn keeps(last: &LastToken, token: &str) -> bool {
        last.kept
            .borrow()
            .as_ref()
            .is_some_and(|kept| kept.is(token))
    }

    fn count(last: &LastToken, token: &str) {
        let digest = last.digest(token);
        assert_eq!(digest, hash::sha256(token.as_bytes()), "{token}");
        last.counted(token, &digest);
    }

    #[test]
    fn a_token_is_kept_when_it_counts_again_and_its_digest_is_always_its_own() {
        let last = LastToken::default();
        count(&last, "one");
        assert!(!keeps(&last, "one"), "a first request leaves nothing");
        count(&last, "one");
        assert!(keeps(&last, "one"));
        for other in ["two", "one", "ond", "on", "one ", ""] {
            assert_eq!(last.digest(other), hash::sha256(other.as_bytes()));
        }
        assert!(keeps(&last, "one"), "what was only shown takes no place");
    }

    #[test]
    fn another_token_takes_the_place_when_it_comes_twice_in_a_row() {
        let last = LastToken::default();
        for _ in 0..3 {
            count(&last, "one");
            count(&last, "two");
            assert!(!keeps(&last, "one") && !keeps(&last, "two"));
        }
        for (shown, kept) in [
            ("two", "two"),
            ("one", "two"),
            ("two", "two"),
            ("one", "two"),
        ] {
            count(&last, shown);
            assert!(keeps(&last, kept), "{shown}");
        }
        count(&last, "one");
        assert!(keeps(&last, "one") && !keeps(&last, "two"));
    }

    #[test]
    fn a_refusal_leaves_nothing() {
        let last = LastToken::default();
        count(&last, "one");
        count(&last, "one");
        last.refused();
        assert!(!keeps(&last, "one"));
        count(&last, "one");
        assert!(!keeps(&last, "one"), "it begins anew");
    }

    #[test]
    fn what_a_connection_keeps_is_short_and_never_printed() {
        let last = LastToken::default();
        let (long, longest) = ("x".repeat(KEPT_MAX + 1), "y".repeat(KEPT_MAX));
        for token in [&long, &long, &longest, &longest] {
            count(&last, token);
            assert!(!keeps(&last, &long));
        }
        assert!(keeps(&last, &longest));
        assert!(!format!("{last:?}").contains("yy"));
    }
}
