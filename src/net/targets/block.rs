//! A header block of HPACK (RFC 7541), walked over for the one text that the library might not take: `:path`.

use std::collections::VecDeque;

use bytes::Bytes;
use http::uri::PathAndQuery;

use super::huffman;

/// Entries that a table of 4096 bytes has at most (RFC 7541, 4.1). Older ones are gone on both sides.
const ENTRIES_MAX: u64 = 4096 / 32;

/// The error for a malformed block. The library finds it too, and ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The state that earlier blocks of a connection leave.
#[derive(Debug, Default)]
pub struct Table {
    /// Entries that were ever added to the dynamic table.
    added: u64,
    /// Entries whose name is `:path`.
    paths: VecDeque<u64>,
    /// Entries whose value was replaced, and the value that came.
    replaced: VecDeque<(u64, Bytes)>,
}

/// The result of a walk over a block.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// The `:path`, if the library gets another.
    pub path: Option<Bytes>,
    /// The block for the library, if it is another.
    pub block: Option<Vec<u8>>,
}

impl Table {
    /// Walks over one whole block.
    pub fn walk(&mut self, block: &[u8]) -> Result<Walked, Malformed> {
        let mut walked = Walked::default();
        let mut copied = 0;
        let mut rest = Rest { block, at: 0 };
        while let Some(first) = rest.peek() {
            let (prefix, added) = match first {
                0x80.. => {
                    let index = rest.integer(7)?;
                    walked.path = walked.path.or_else(|| self.replaced(index));
                    continue;
                }
                0x40..0x80 => (6, true),
                0x20..0x40 => {
                    rest.integer(5)?;
                    continue;
                }
                _ => (4, false),
            };
            let index = rest.integer(prefix)?;
            let is_path = match index {
                0 => rest.text()?.is_path_name(),
                index => self.names_path(index),
            };
            let before = rest.at;
            let value = rest.text()?;
            let unfit = Some(&value).filter(|_| is_path).and_then(Text::unfit);
            if let Some(path) = &unfit {
                let shown = walked.block.get_or_insert_with(Vec::new);
                shown.extend_from_slice(block.get(copied..before).unwrap_or_default());
                put_text(shown, &stand_in(path.len()));
                copied = rest.at;
                walked.path = Some(path.clone());
            }
            if added {
                self.add(is_path, unfit);
            }
        }
        if let Some(shown) = &mut walked.block {
            shown.extend_from_slice(block.get(copied..).unwrap_or_default());
        }
        Ok(walked)
    }

    fn add(&mut self, is_path: bool, replaced: Option<Bytes>) {
        if is_path {
            self.paths.push_back(self.added);
        }
        if let Some(path) = replaced {
            self.replaced.push_back((self.added, path));
        }
        self.added += 1;
        let oldest = self.added.saturating_sub(ENTRIES_MAX);
        while self.paths.front().is_some_and(|entry| *entry < oldest) {
            self.paths.pop_front();
        }
        while self
            .replaced
            .front()
            .is_some_and(|(entry, _)| *entry < oldest)
        {
            self.replaced.pop_front();
        }
    }

    /// The number of the entry at an index of the dynamic table.
    fn entry(&self, index: u64) -> Option<u64> {
        let age = index.checked_sub(STATIC_ENTRIES + 1)?;
        self.added.checked_sub(age + 1)
    }

    fn names_path(&self, index: u64) -> bool {
        matches!(index, 4 | 5)
            || self
                .entry(index)
                .is_some_and(|entry| self.paths.contains(&entry))
    }

    fn replaced(&self, index: u64) -> Option<Bytes> {
        let entry = self.entry(index)?;
        let known = self.replaced.iter().find(|(known, _)| *known == entry);
        known.map(|(_, path)| path.clone())
    }
}

/// Entries of the static table (RFC 7541, appendix A), of which 4 and 5 are `:path`.
const STATIC_ENTRIES: u64 = 61;

struct Rest<'b> {
    block: &'b [u8],
    at: usize,
}

/// A text in its encoded form.
struct Text<'b> {
    coded: bool,
    bytes: &'b [u8],
}

impl<'b> Rest<'b> {
    fn peek(&self) -> Option<u8> {
        self.block.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Malformed> {
        let byte = self.peek().ok_or(Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    /// An integer with a prefix of `bits` (RFC 7541, 5.1). Four bytes more than the prefix are enough for every valid
    /// value in a block.
    fn integer(&mut self, bits: u32) -> Result<u64, Malformed> {
        let most = (1_u64 << bits) - 1;
        let mut value = u64::from(self.next()?) & most;
        if value < most {
            return Ok(value);
        }
        for place in 0..4 {
            let byte = self.next()?;
            value += u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn text(&mut self) -> Result<Text<'b>, Malformed> {
        let coded = self.peek().ok_or(Malformed)? >= 0x80;
        let length = usize::try_from(self.integer(7)?).ok().ok_or(Malformed)?;
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let bytes = self.block.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(Text { coded, bytes })
    }
}

impl Text<'_> {
    fn is_path_name(&self) -> bool {
        const NAME: &[u8] = b":path";
        if !self.coded {
            return self.bytes == NAME;
        }
        self.bytes.len() < NAME.len()
            && huffman::decode(self.bytes).is_some_and(|name| name == NAME)
    }

    /// A path that the library would not take, or would change. Most are known to be fit without being decoded.
    fn unfit(&self) -> Option<Bytes> {
        let decoded;
        let path = if self.coded {
            let begins = self.bytes.first().is_some_and(|first| first >> 2 == SLASH);
            if begins && huffman::is_usual(self.bytes) {
                return None;
            }
            decoded = huffman::decode(self.bytes)?;
            decoded.as_slice()
        } else {
            self.bytes
        };
        let fit = (path.starts_with(b"/") || path == b"*")
            && !path.contains(&b'#')
            && PathAndQuery::try_from(path).is_ok();
        // An empty text cannot be judged, and text that is not UTF-8 is refused by the library.
        let judged = !fit && !path.is_empty() && std::str::from_utf8(path).is_ok();
        judged.then(|| Bytes::copy_from_slice(path))
    }
}

/// The six bits of a slash in the code.
const SLASH: u8 = 0x18;

/// A path of that length which no route takes: it leads above the root. It serves no request if the path that it stands
/// for should be lost.
fn stand_in(length: usize) -> Vec<u8> {
    let mut path = b"/../".to_vec();
    path.resize(length.max(3), b'x');
    path
}

/// Appends a text that is not compressed.
fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 127 {
        out.push(u8::try_from(length).unwrap_or(0));
    } else {
        out.push(127);
        length -= 127;
        while length >= 128 {
            out.push(u8::try_from(length % 128).unwrap_or(0) | 128);
            length /= 128;
        }
        out.push(u8::try_from(length).unwrap_or(0));
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A literal under a name of the static table: `how` is 0x40 to add it to the dynamic table, 0 not to.
    fn literal(how: u8, name: u8, value: &[u8]) -> Vec<u8> {
        let mut block = vec![how | name];
        put_text(&mut block, value);
        block
    }

    fn path_of(walked: &Walked) -> Option<&str> {
        let path = walked.path.as_deref();
        path.map(|path| std::str::from_utf8(path).unwrap())
    }

    #[test]
    fn a_block_with_a_fit_path_is_left_alone() {
        let mut table = Table::default();
        for path in ["/", "/a?b=[c]{d}|^~", "/caf\u{e9}?\u{e9}", "*"] {
            let block = [&[0x82, 0x87][..], &literal(0, 4, path.as_bytes())].concat();
            assert_eq!(table.walk(&block), Ok(Walked::default()), "{path}");
        }
        assert_eq!(table.walk(&[0x82, 0x84, 0x3f, 0x01]), Ok(Walked::default()));
    }

    #[test]
    fn an_unfit_path_is_replaced_and_kept() {
        for path in [
            "/a?x=\"y\"",
            "/<b>",
            "/a#b",
            "?x",
            "https://a/",
            "/a b",
            "/\r\nx",
            "a",
            "\"\"",
            "/`",
        ] {
            let mut table = Table::default();
            let fields = [0x82, 0x87];
            let block = [&fields[..], &literal(0, 4, path.as_bytes()), &[0x86]].concat();
            let walked = table.walk(&block).unwrap();
            assert_eq!(path_of(&walked), Some(path));
            let shown = [&fields[..], &literal(0, 4, &stand_in(path.len())), &[0x86]].concat();
            assert_eq!(walked.block, Some(shown), "{path}");
        }
        // `/a<` in the code of HPACK.
        let mut table = Table::default();
        let walked = table.walk(&[0x04, 0x84, 0x60, 0x7f, 0xff, 0x3f]).unwrap();
        assert_eq!(path_of(&walked), Some("/a<"));
    }

    #[test]
    fn a_path_in_the_table_is_known_again() {
        let mut table = Table::default();
        table.walk(&literal(0x40, 4, b"/a<")).unwrap();
        assert_eq!(path_of(&table.walk(&[0xbe]).unwrap()), Some("/a<"));
        // Another entry comes before it, and one that takes its name from it.
        table.walk(&literal(0x40, 32, b"cookie")).unwrap();
        assert_eq!(path_of(&table.walk(&[0xbe]).unwrap()), None);
        assert_eq!(path_of(&table.walk(&[0xbf]).unwrap()), Some("/a<"));
        let mut block = vec![0x7f, 0x00];
        put_text(&mut block, b"/b<");
        assert_eq!(path_of(&table.walk(&block).unwrap()), Some("/b<"));
        let by_name = [&[0x00, 5][..], b":path", &[3], b"/c>"].concat();
        assert_eq!(path_of(&table.walk(&by_name).unwrap()), Some("/c>"));
        for _ in 0..ENTRIES_MAX {
            table.walk(&literal(0x40, 32, b"c")).unwrap();
        }
        assert!(table.paths.is_empty() && table.replaced.is_empty());
    }

    #[test]
    fn a_stand_in_is_never_served() {
        for length in 0..200 {
            let path = stand_in(length);
            assert!(path.starts_with(b"/.."));
            assert!(matches!(path.get(3), None | Some(b'/')), "{path:?}");
            assert!(PathAndQuery::try_from(path.as_slice()).is_ok());
        }
    }

    #[test]
    fn what_ends_early_is_malformed() {
        for block in [
            &[0x04][..],
            &[0x04, 5, b'/'],
            &[0xff],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x00, 0x85],
        ] {
            assert_eq!(Table::default().walk(block), Err(Malformed), "{block:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6)) {
            let mut table = Table::default();
            for block in blocks {
                let _ = table.walk(&block);
            }
        }

        #[test]
        fn a_replaced_block_is_fit(path in "/[ -~]{0,40}") {
            let mut table = Table::default();
            let walked = table.walk(&literal(0, 4, path.as_bytes())).unwrap();
            if let Some(block) = walked.block {
                prop_assert_eq!(walked.path.as_deref(), Some(path.as_bytes()));
                prop_assert_eq!(Table::default().walk(&block), Ok(Walked::default()));
            }
        }
    }
}
