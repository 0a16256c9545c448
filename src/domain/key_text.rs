//! The text of keys: `sk_live_`, `pk_live_` or `sg_live_`, or `test` for `live`, + 26 characters of the id + 43 random
//! characters of base 62 (256 bits) + 6 of checksum.
//!
//! The checksum distinguishes typing errors from guesses without a look-up, and lets scanners recognise a key.

use super::api_key::{Environment, KeyKind};
use super::id::{ID_CHARS, KeyId, decode};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 43 characters of base 62 hold 256 bits.
pub const RANDOM_CHARS: usize = 43;

/// 6 characters of base 62 hold 32 bits.
pub const CHECKSUM_CHARS: usize = 6;

/// The characters behind the prefix.
const REST_CHARS: usize = ID_CHARS + RANDOM_CHARS + CHECKSUM_CHARS;

/// The characters of a key's prefix.
const PREFIX_CHARS: usize = 8;

/// The length of a key.
pub const KEY_TEXT_CHARS: usize = PREFIX_CHARS + REST_CHARS;

/// The id in a text with this prefix, if its form is right.
pub fn read(prefix: &str, text: &str) -> Option<u128> {
    let rest = text.strip_prefix(prefix)?;
    if rest.len() != REST_CHARS {
        return None;
    }
    let id = decode(rest.get(..ID_CHARS)?)?;
    let (covered, check) = text.split_at_checked(text.len() - CHECKSUM_CHARS)?;
    let random = rest.get(ID_CHARS..ID_CHARS + RANDOM_CHARS)?;
    let spelled = random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (spelled && check.as_bytes() == checksum(covered.as_bytes())).then_some(id)
}

/// The id in a key, if its form is a key's. Only the digest shows that it is the right key.
pub fn parse(text: &str) -> Option<KeyId> {
    prefixes()
        .find_map(|prefix| read(prefix, text))
        .map(KeyId::from_bits)
}

/// Every key in these bytes, with its place, by its form and checksum.
pub fn find(bytes: &[u8]) -> impl Iterator<Item = (usize, &str)> {
    let begins = |place: &usize| {
        let word = bytes.get(*place..*place + PREFIX_CHARS);
        word.is_some_and(|word| prefixes().any(|prefix| prefix.as_bytes() == word))
    };
    // Most bytes are none of these: the prefixes are compared at few places.
    let places = bytes.iter().enumerate();
    let places = places.filter(|(_, byte)| matches!(**byte, b's' | b'p'));
    let places = places.map(|(place, _)| place).filter(begins);
    places.filter_map(|place| {
        let text = bytes.get(place..place + KEY_TEXT_CHARS)?;
        let text = std::str::from_utf8(text).ok()?;
        parse(text).map(|_| (place, text))
    })
}

fn prefixes() -> impl Iterator<Item = &'static str> {
    let kinds = KeyKind::ALL.into_iter();
    kinds.flat_map(|kind| Environment::ALL.map(|environment| kind.prefix(environment)))
}

/// The checksum of the text before it.
pub fn checksum(covered: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32(covered);
    let mut text = [b'0'; CHECKSUM_CHARS];
    for place in text.iter_mut().rev() {
        *place = digit(rest);
        rest /= 62;
    }
    text
}

/// The character of base 62 for a value.
pub fn digit(value: u32) -> u8 {
    let place = usize::try_from(value % 62).unwrap_or(0);
    BASE62.get(place).copied().unwrap_or(b'0')
}

/// CRC-32 as in gzip and PNG (ISO 3309), bit by bit: 77 bytes a key do not need a table.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::id::encode;

    fn key(prefix: &str, bits: u128) -> String {
        let id = encode(bits).map(char::from);
        let mut text = String::from(prefix);
        text.extend(id);
        text.push_str("Ab1".repeat(15).get(..RANDOM_CHARS).unwrap());
        let sum = checksum(text.as_bytes()).map(char::from);
        text.extend(sum);
        text
    }

    #[test]
    fn keys_are_found_wherever_they_stand() {
        let (one, two) = (key("sk_live_", 1), key("pk_test_", 2));
        let text = format!("KEY={one}\n\u{e9}\"{two}\",sk_live_{one}{one} sk_live_ pk_live_x");
        let found: Vec<_> = find(text.as_bytes()).collect();
        let texts: Vec<_> = found.iter().map(|(_, text)| *text).collect();
        assert_eq!(texts, [one.as_str(), &two, &one, &one]);
        assert_eq!(found[0].0, 4);
        let typo = one.replace("Ab1A", "Ab1B");
        assert_eq!(find(typo.as_bytes()).count(), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_search_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = find(&bytes).count();
            let mut with_prefix = b"sk_live_".to_vec();
            with_prefix.extend(bytes);
            let _ = find(&with_prefix).count();
        }
    }

    #[test]
    fn the_checksum_is_the_usual_crc() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
