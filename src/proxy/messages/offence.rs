//! The refused part of a request: the rule, the place and the text, for the answer and for the access log.

use std::fmt::{self, Write};

use crate::domain::path_fault::InvalidPath;
use crate::domain::route::Miss;

/// The most characters of the request that are repeated.
const SHOWN_MAX: usize = 64;

/// The part of a request that a rule refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    /// The rule's name, which stays the same.
    pub rule: &'static str,
    /// The fault, as a sentence without its full stop.
    pub says: &'static str,
    /// The first refused byte, counted from 0, if it has a place.
    pub at: Option<usize>,
    /// The refused text: printable ASCII, and not much of it.
    pub sent: String,
}

impl Offence {
    pub fn new(rule: &'static str, says: &'static str, at: Option<usize>, sent: &[u8]) -> Self {
        Self {
            rule,
            says,
            at,
            sent: shown(sent),
        }
    }

    /// The rule that an invalid path breaks.
    pub fn of_path(path: &[u8], why: InvalidPath) -> Self {
        let InvalidPath { fault, at, length } = why;
        let sent = path.get(at..at + length).unwrap_or_default();
        Self::new(fault.as_str(), fault.says(), Some(at), sent)
    }

    /// The rule by which no route takes a path.
    pub fn of_miss(path: &str, miss: &Miss) -> Option<Self> {
        match miss {
            Miss::Ambiguous(kind, place) => {
                let sent = path.get(place.clone()).unwrap_or_default();
                let at = Some(place.start);
                Some(Self::new(kind.as_str(), kind.says(), at, sent.as_bytes()))
            }
            Miss::Elsewhere => Some(Self::new(
                "another_route",
                "Some servers read the path as one of another route",
                None,
                b"",
            )),
            Miss::Method(_) | Miss::Unknown => None,
        }
    }
}

/// `semicolons at byte 2: ;`
impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)?;
        if let Some(at) = self.at {
            write!(f, " at byte {at}")?;
        }
        if !self.sent.is_empty() {
            write!(f, ": {}", self.sent)?;
        }
        Ok(())
    }
}

/// Printable ASCII as it is, everything else as `\\xff`, and no more than so much.
fn shown(sent: &[u8]) -> String {
    let mut text = String::new();
    for byte in sent {
        if text.len() >= SHOWN_MAX {
            text.push('…');
            break;
        }
        match byte {
            b' '..=b'~' => text.push(char::from(*byte)),
            byte => {
                let _never_fails = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offence_is_told_in_a_line_of_printable_text() {
        let shown = |at, sent: &[u8]| Offence::new("rule", "Says", at, sent).to_string();
        assert_eq!(shown(Some(2), b"%FF"), "rule at byte 2: %FF");
        assert_eq!(shown(None, b""), "rule");
        assert_eq!(
            shown(Some(0), b"\xffa\r\n"),
            "rule at byte 0: \\xffa\\x0d\\x0a"
        );
        let long = shown(None, &[b'x'; 1000]);
        assert!(long.len() < 100 && long.ends_with('…'), "{long}");
    }
}
