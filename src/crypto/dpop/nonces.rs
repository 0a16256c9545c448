//! Nonces that the gateway gives out for proofs (RFC 9449, 8): a proof with one was made lately.
//!
//! A nonce is the number of a window of time with its authenticator, so that nothing is kept of those that were given
//! out. The key is of this process: after a restart, each client asks once more.

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;

use crate::crypto::hash;
use crate::crypto::random;
use crate::domain::time::Timestamp;

/// The length of a window. A nonce is good in its own and the next, so for 5 to 10 minutes.
const WINDOW_SECONDS: i64 = 300;

/// Octets of the authenticator that a nonce has: 128 bits, which nobody guesses in 10 minutes.
const TAG_BYTES: usize = 16;

/// The maker of nonces.
pub struct Nonces(hmac::Key);

impl Default for Nonces {
    fn default() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>()))
    }
}

impl Nonces {
    /// The nonce to give out.
    pub fn current(&self, now: Timestamp) -> String {
        self.of(window(now))
    }

    /// True if `nonce` is that of this window or of the last one.
    pub fn know(&self, nonce: &str, now: Timestamp) -> bool {
        let window = window(now);
        let is = |of: i64| hash::constant_time_eq(self.of(of).as_bytes(), nonce.as_bytes());
        is(window) || is(window - 1)
    }

    fn of(&self, window: i64) -> String {
        let number = window.to_be_bytes();
        let tag = hmac::sign(&self.0, &number);
        let tag = tag.as_ref().get(..TAG_BYTES).unwrap_or_default();
        BASE64URL_NOPAD.encode(&[&number, tag].concat())
    }
}

/// The key is a secret.
impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces")
    }
}

const fn window(now: Timestamp) -> i64 {
    now.unix_seconds().div_euclid(WINDOW_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn a_nonce_is_good_for_two_windows_of_its_own_process() {
        let nonces = Nonces::default();
        let nonce = nonces.current(at(600));
        assert_eq!(nonce, nonces.current(at(899)));
        for seconds in [600, 899, 900, 1199] {
            assert!(nonces.know(&nonce, at(seconds)), "{seconds}");
        }
        for seconds in [0, 599, 1200, 9000] {
            assert!(!nonces.know(&nonce, at(seconds)), "{seconds}");
        }
        assert!(!Nonces::default().know(&nonce, at(600)));
        let other = nonces.current(at(900));
        for wrong in [
            "",
            "a",
            &nonce.replace('A', "B"),
            &format!("{nonce}A"),
            &other,
        ] {
            assert!(!nonces.know(wrong, at(600)), "{wrong}");
        }
        assert_eq!(format!("{nonces:?}"), "Nonces");
    }
}
