//! The end of a head: its first empty line.
//!
//! Lines end with CRLF here. The parser would take a bare LF as well, and others do not (RFC 9112, 2.2), so that a
//! server behind us might see another head, or two.

use super::malformed::Malformed;

/// A search for the end of a head in a buffer that fills.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadEnd {
    /// The bytes that were searched before: a client that sends one byte at a time must not cause the search of all
    /// others again.
    seen: usize,
}

impl HeadEnd {
    /// The length of the head with its empty line; `None` when more bytes are needed.
    pub fn find(&mut self, buffer: &[u8]) -> Result<Option<usize>, Malformed> {
        let unseen = buffer.get(self.seen..).unwrap_or(&[]);
        for at in memchr::memchr_iter(b'\n', unseen) {
            let line = buffer.get(..=self.seen + at).unwrap_or(&[]);
            // Patterns, which are compared in place: a call for each line of each head is not.
            match line {
                [.., b'\r', b'\n', b'\r', b'\n'] => return Ok(Some(line.len())),
                [.., b'\r', b'\n'] => {}
                _ => return Err(Malformed("a line ends with a bare LF")),
            }
        }
        self.seen = buffer.len();
        Ok(None)
    }

    /// True if nothing was searched yet.
    pub fn is_new(self) -> bool {
        self.seen == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &[u8]) -> Result<Option<usize>, Malformed> {
        HeadEnd::default().find(text)
    }

    #[test]
    fn a_head_ends_at_its_first_empty_line() {
        assert_eq!(whole(b""), Ok(None));
        assert_eq!(whole(b"GET / HTTP/1.1\r\na: b\r\n"), Ok(None));
        assert_eq!(whole(b"a\r\n\r"), Ok(None));
        assert_eq!(whole(b"a\r\n\r\nb\r\n\r\n"), Ok(Some(5)));
    }

    #[test]
    fn a_bare_lf_ends_no_line() {
        for bare in ["\n", "a\n\n", "a\r\nb\n\r\n", "a\r\n\n"] {
            assert!(whole(bare.as_bytes()).is_err(), "{bare:?}");
        }
        assert_eq!(
            whole(b"a\r\n\r\n\n"),
            Ok(Some(5)),
            "what follows is not ours"
        );
    }

    proptest! {
        #[test]
        fn however_it_comes_it_ends_at_the_same_place(
            text in "[a\r\n]{0,24}",
            cut in 0_usize..24,
        ) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let mut end = HeadEnd::default();
            let first = end.find(&bytes[..cut]);
            let both = match first {
                Ok(None) => end.find(bytes),
                other => other,
            };
            prop_assert_eq!(both, whole(bytes));
        }
    }
}
