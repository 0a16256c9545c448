//! The Huffman code of HPACK (RFC 7541, appendix B), for reading one text.

/// The longest code of a byte, in bits. The end-of-string code is never sent whole; padding is its beginning.
const LONGEST: usize = 30;

/// Bits of each byte's code. The code is canonical, so its codes follow from their lengths.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// Codes of each length: the first one, their number, and the place of their bytes in `bytes`.
struct Code {
    first: [u32; LONGEST + 1],
    count: [u32; LONGEST + 1],
    start: [usize; LONGEST + 1],
    /// Bytes, sorted by length, then by value.
    bytes: [u8; 256],
    /// Codes by the first eight bits: the byte, and the length of its code; 0 for codes that are longer.
    short: [(u8, u8); 256],
}

const CODE: Code = code();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "runs in the compiler, which would not compile an index or a cast that is wrong"
)]
const fn code() -> Code {
    let mut code = Code {
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        start: [0; LONGEST + 1],
        bytes: [0; 256],
        short: [(0, 0); 256],
    };
    let (mut next, mut placed, mut length) = (0_u32, 0, 1);
    while length <= LONGEST {
        next <<= 1;
        code.first[length] = next;
        code.start[length] = placed;
        let mut byte = 0;
        while byte < 256 {
            if LENGTHS[byte] as usize == length {
                code.bytes[placed] = byte as u8;
                let mut filled = 0;
                while length <= 8 && filled < 1 << (8 - length) {
                    let prefix = (next << (8 - length)) as usize + filled;
                    code.short[prefix] = (byte as u8, length as u8);
                    filled += 1;
                }
                placed += 1;
                next += 1;
                code.count[length] += 1;
            }
            byte += 1;
        }
        length += 1;
    }
    code
}

impl Code {
    fn byte(&self, code: u32, length: usize) -> Option<u8> {
        let place = code.checked_sub(*self.first.get(length)?)?;
        if place >= *self.count.get(length)? {
            return None;
        }
        let start = self.start.get(length)?;
        self.bytes
            .get(start + usize::try_from(place).ok()?)
            .copied()
    }
}

/// True if a text consists of bytes with short codes, blanks excepted. Paths nearly always do.
pub fn is_usual(text: &[u8]) -> bool {
    let (mut bits, mut held) = (0_u32, 0_u32);
    let take = |prefix: u32| {
        let found = usize::try_from(prefix)
            .ok()
            .and_then(|prefix| CODE.short.get(prefix));
        match found {
            Some((b' ', _) | (_, 0)) | None => None,
            Some((_, length)) => Some(u32::from(*length)),
        }
    };
    for byte in text {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 8 {
            match take(bits >> (held - 8) & 0xff) {
                Some(length) => held -= length,
                None => return false,
            }
        }
    }
    // The rest is padding, which must be all ones.
    while held > 0 {
        let ones = 0xff >> held;
        let prefix = bits << (8 - held) & 0xff | ones;
        if prefix == 0xff {
            return true;
        }
        match take(prefix) {
            Some(length) if length <= held => held -= length,
            _ => return false,
        }
    }
    true
}

/// The bytes of a text; `None` when it is not in this code.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len() * 2);
    let (mut code, mut length) = (0_u32, 0);
    for byte in text {
        for place in (0..8).rev() {
            code = code << 1 | u32::from(byte >> place & 1);
            length += 1;
            if let Some(byte) = CODE.byte(code, length) {
                decoded.push(byte);
                (code, length) = (0, 0);
            } else if length == LONGEST {
                return None;
            }
        }
    }
    let padding = (1 << length) - 1;
    (length < 8 && code == padding).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_are_read() {
        for (coded, text) in [
            (
                &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..],
                "www.example.com",
            ),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f", "custom-key"),
            (
                b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3",
                "https://www.example.com",
            ),
        ] {
            assert_eq!(decode(coded).unwrap(), text.as_bytes(), "{text}");
            assert!(is_usual(coded), "{text}");
        }
        assert_eq!(decode(b"").unwrap(), b"");
        assert!(is_usual(b""));
    }

    #[test]
    fn rare_bytes_are_noticed() {
        assert_eq!(decode(b"\x1a\x91\xc7").unwrap(), b"a bb");
        assert!(!is_usual(b"\x1a\x91\xc7"));
        assert_eq!(decode(b"\x1f\xf3").unwrap(), b"a\"");
        assert!(!is_usual(b"\x1f\xf3"));
    }

    #[test]
    fn what_is_not_of_this_code_is_not_read() {
        assert_eq!(decode(b"\xff\xff\xff\xff"), None, "the end");
        assert_eq!(decode(b"\x1f\x80"), None, "padded with zeros");
        assert_eq!(decode(b"\x1f\xff"), None, "a whole byte of padding");
    }
}
