//! `Authorization: Basic` with a key (RFC 7617): the key's id as the user, the key as the password.

use data_encoding::BASE64;
use zeroize::Zeroizing;

use crate::domain::id::{ID_TEXT_CHARS, KeyId};

/// The longest text of a key: one of ours has 83 characters, one of another system has at most this many.
const KEY_CHARS_MAX: usize = 256;

/// Room for an id, a colon and a key, in whole groups of three.
const PAIR_MAX: usize = (ID_TEXT_CHARS + 1 + KEY_CHARS_MAX).next_multiple_of(3);

/// A key and its id, decoded from `Basic`. The bytes are wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct BasicKey {
    pub id: KeyId,
    pair: Zeroizing<[u8; PAIR_MAX]>,
    /// The place of the key in the pair.
    begin: usize,
    end: usize,
}

impl BasicKey {
    /// The pair behind `Basic`, if its user is the id of a key. Every other pair is for the API.
    pub fn read(encoded: &str) -> Option<Self> {
        let mut pair = Zeroizing::new([0; PAIR_MAX]);
        let length = BASE64.decode_len(encoded.len()).ok()?;
        let room = pair.get_mut(..length)?;
        let end = BASE64.decode_mut(encoded.as_bytes(), room).ok()?;
        let decoded = pair.get(..end)?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let id = std::str::from_utf8(decoded.get(..colon)?).ok()?;
        let id = id.parse().ok()?;
        let begin = colon + 1;
        std::str::from_utf8(decoded.get(begin..)?).ok()?;
        Some(Self {
            id,
            pair,
            begin,
            end,
        })
    }

    /// The text of the key.
    pub fn text(&self) -> &str {
        let text = self.pair.get(self.begin..self.end).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl std::fmt::Debug for BasicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BasicKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pair: &str) -> Option<(KeyId, String)> {
        let found = BasicKey::read(&BASE64.encode(pair.as_bytes()))?;
        Some((found.id, found.text().to_owned()))
    }

    #[test]
    fn a_pair_is_ours_when_its_user_is_a_keys_id() {
        let id = KeyId::from_bits(7);
        for text in ["sk_live_1", "", "a:b", "not ours"] {
            assert_eq!(read(&format!("{id}:{text}")), Some((id, text.to_owned())));
        }
        let longest = "x".repeat(KEY_CHARS_MAX);
        assert_eq!(read(&format!("{id}:{longest}")), Some((id, longest)));
        for other in ["user:password", "key_1:sk_live_1", "", ":", "user"] {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(
            read(&format!("{id}:{}", "x".repeat(KEY_CHARS_MAX + 9))),
            None
        );
        assert_eq!(BasicKey::read("not base64!"), None);
        let shown = format!(
            "{:?}",
            BasicKey::read(&BASE64.encode(format!("{id}:sk").as_bytes()))
        );
        assert!(!shown.contains("sk"), "{shown}");
    }
}
