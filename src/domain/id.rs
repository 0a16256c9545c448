//! Identifiers: a prefix that says what is named, and 128 bits that say which one.
//!
//! The written form is the prefix, `_`, and 26 characters of Crockford's base 32 in lower case,
//! for example `app_01j9z3k4m5n6p7q8r9s0t1v2w3`. Ids made later sort later (UUID version 7).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ascii::Ascii;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters in the written form after the prefix and `_`.
pub const ID_CHARS: usize = 26;

/// Characters in the written form.
pub const ID_TEXT_CHARS: usize = 4 + ID_CHARS;

/// A text that is not an id of the kind that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id like {prefix}_ followed by 26 characters")]
pub struct InvalidId {
    prefix: &'static str,
}

/// Writes 128 bits as 26 characters, most significant first.
pub fn encode(bits: u128) -> [u8; ID_CHARS] {
    let mut text = [0_u8; ID_CHARS];
    // Halves of 64 bits with one digit between them: shifting 128 bits costs several instructions each time.
    let (front, middle, back) = (bits >> 65, (bits >> 60) & 31, bits & LOW_60);
    let halves = [(front, 0..13), (middle, 13..14), (back, 14..26)];
    for (half, places) in halves {
        let mut rest = u64::try_from(half).unwrap_or(0);
        for place in text.get_mut(places).unwrap_or_default().iter_mut().rev() {
            let digit = usize::try_from(rest & 31).unwrap_or(0);
            *place = ALPHABET.get(digit).copied().unwrap_or(b'0');
            rest >>= 5;
        }
    }
    text
}

const LOW_60: u128 = (1 << 60) - 1;

/// Reads what [`encode`] wrote; `None` for anything else, so that an id has one spelling.
pub fn decode(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    if bytes.len() != ID_CHARS || bytes.first().is_none_or(|first| *first > b'7') {
        return None;
    }
    bytes.iter().try_fold(0_u128, |bits, byte| {
        let digit = ALPHABET.iter().position(|known| known == byte)?;
        Some((bits << 5) | u128::try_from(digit).ok()?)
    })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// The written form.
            pub fn text(self) -> Ascii<ID_TEXT_CHARS> {
                Ascii::EMPTY
                    .and(concat!($prefix, "_").as_bytes())
                    .and(&encode(self.0))
            }
        }

        impl From<$name> for u128 {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text().as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map(Self)
                    .ok_or(InvalidId { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// Names an App.
    AppId = "app";
    /// Names a registered client certificate.
    CertificateId = "crt";
    /// Names an API key; it is the OAuth `client_id` too (RFC 6749, 2.2).
    KeyId = "key";
    /// Names a token of an operator for the admin API.
    AdminTokenId = "adm";
    /// Names an authority that signs certificates.
    AuthorityId = "aut";
    /// Names one administrative change.
    AuditEventId = "evt";
    /// Names one request and its answer; callers see it as `X-Request-Id`.
    RequestId = "req";
    /// Names one access token (`jti`).
    TokenId = "tok";
    /// Names a boost of an App's limits.
    BoostId = "bst";
    /// Names the session of a user on a device (`sid`).
    SessionId = "ses";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_id_reads_as_it_was_written(bits in any::<u128>()) {
            let id = AppId::from_bits(bits);
            prop_assert_eq!(id.to_string().parse::<AppId>().unwrap(), id);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<KeyId>();
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        let good = AppId::from_bits(7).to_string();
        assert_eq!(good, "app_00000000000000000000000007");
        let shouted = format!("app_{}", "Z".repeat(26));
        let overflow = format!("app_8{}", "0".repeat(25));
        for bad in [
            "",
            "app_",
            "key_00000000000000000000000007",
            "app_0000000000000000000000007",
            &shouted,
            &overflow,
        ] {
            assert!(bad.parse::<AppId>().is_err(), "{bad}");
        }
    }
}
