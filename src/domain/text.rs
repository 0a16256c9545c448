//! Text out of the bytes of a file, in whichever of the usual encodings it was saved.

use std::borrow::Cow;

/// Bytes as text: UTF-8 without its byte order mark, UTF-16 of either order with or without its mark, and everything
/// else as Latin-1, in which each byte is a character.
///
/// Nothing is lost where only ASCII matters, as between the lines of PEM (RFC 7468, 2).
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        return utf8_or_latin1(rest);
    }
    match wide(bytes) {
        Some(text) => Cow::Owned(text),
        None => utf8_or_latin1(bytes),
    }
}

fn utf8_or_latin1(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text.strip_prefix(MARK).unwrap_or(text)),
        Err(_) => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
    }
}

/// The byte order mark, as it arrives in JSON.
const MARK: char = '\u{feff}';

/// A text of UTF-16; `None` when the bytes are something else.
fn wide(bytes: &[u8]) -> Option<String> {
    let (unit, rest): (fn([u8; 2]) -> u16, _) = match bytes {
        [0xff, 0xfe, rest @ ..] => (u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => (u16::from_be_bytes, rest),
        // Without a mark, two characters of ASCII in a row tell the order.
        [1..=0x7f, 0, 1..=0x7f, 0, ..] => (u16::from_le_bytes, bytes),
        [0, 1..=0x7f, 0, 1..=0x7f, ..] => (u16::from_be_bytes, bytes),
        _ => return None,
    };
    // One allocation: a private key passes through here, and a text that grows leaves copies behind.
    let mut text = String::with_capacity(2 * bytes.len());
    let units = rest.chunks_exact(2).filter_map(|pair| pair.try_into().ok());
    let decoded = char::decode_utf16(units.map(unit));
    text.extend(decoded.map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_read_in_whichever_encoding_it_was_saved() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"ab", "ab"),
            (b"Z\xc3\xbcrich", "Z\u{fc}rich"),
            (b"\xef\xbb\xbfab", "ab"),
            (b"Z\xfcrich", "Z\u{fc}rich"),
            (b"\xff\xfea\0b\0", "ab"),
            (b"\xfe\xff\0a\0b", "ab"),
            (b"a\0b\0", "ab"),
            (b"\0a\0b", "ab"),
            (b"\xff\xfea\0b", "a"),
            (b"0\x82\x01", "0\u{82}\u{1}"),
        ] {
            assert_eq!(decode(bytes), text, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_utf8_without_a_mark_stays_as_it_is(text in "[^\\x00\u{feff}]{0,40}") {
            prop_assert_eq!(&*decode(text.as_bytes()), text.as_str());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(&bytes);
        }
    }
}
