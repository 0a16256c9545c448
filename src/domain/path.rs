//! A request's path: the bytes that came, the form that is matched, and whether others may read it differently.

use std::borrow::Cow;

use super::path_fault::{InvalidPath, PathFault};
use super::path_survey::{Readings, Survey, survey};

/// A request's path. It is matched in one form and forwarded byte for byte as it came.
///
/// In the form that is matched, percent-encoded letters, digits, `-`, `.`, `_` and `~` are decoded and other encodings
/// have upper-case digits (RFC 3986, 6.2.2); nothing else is changed. A path which an upstream may read in another way
/// than that has [`Readings`], and a route takes it only if its operator says so and every reading leads there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    text: Cow<'a, str>,
    /// Boxed: few paths have them.
    readings: Option<Box<Readings>>,
}

impl<'a> Path<'a> {
    /// Reads the path of a request target, without its query.
    pub fn read(raw: &'a str) -> Result<Self, InvalidPath> {
        let mut odd = false;
        for (at, byte) in raw.bytes().enumerate() {
            if never_in_a_path(byte) {
                return Err(never(byte, at));
            }
            odd |= matches!(byte, b'%' | b'\\' | b';');
        }
        if !raw.starts_with('/') {
            let (fault, at, length) = (PathFault::Start, 0, raw.len().min(1));
            return Err(InvalidPath { fault, at, length });
        }
        if !odd && !has_odd_segment(raw) {
            return Ok(Self {
                text: Cow::Borrowed(raw),
                readings: None,
            });
        }
        let Survey { text, readings } = survey(raw)?;
        Ok(Self {
            text: Cow::Owned(text),
            readings: readings.map(Box::new),
        })
    }

    /// The form that is matched.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Other readings of the path; none for a path that all readers read alike.
    pub fn readings(&self) -> Option<&Readings> {
        self.readings.as_deref()
    }
}

const fn never_in_a_path(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f || byte == b'#' || byte == b'?'
}

const fn never(byte: u8, at: usize) -> InvalidPath {
    let fault = match byte {
        b'#' | b'?' => PathFault::Fragment,
        0x80.. => PathFault::NotAscii,
        _ => PathFault::Control,
    };
    InvalidPath {
        fault,
        at,
        length: 1,
    }
}

/// True if a segment is `.` or `..`, or is empty and not the last.
fn has_odd_segment(raw: &str) -> bool {
    let segments = raw.as_bytes().split(|byte| *byte == b'/');
    let mut segments = segments.skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if matches!(segment, b"." | b"..") || (segment.is_empty() && !last) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::oddity::{Oddities, Oddity};

    /// The kinds of a path, each with its first place.
    fn kinds(raw: &str) -> Vec<(&'static str, String)> {
        let path = Path::read(raw).unwrap_or_else(|why| panic!("{raw:?}: {why}"));
        let readings = path.readings().map(|readings| readings.places.clone());
        let mut found: Vec<_> = readings.unwrap_or_default();
        found.sort_by_key(|(_, place)| place.start);
        let shown = |(kind, place): (Oddity, Range<usize>)| {
            let at = place.start;
            let sent = raw.get(place).unwrap();
            (kind.as_str(), format!("{at} {sent}"))
        };
        found.into_iter().map(shown).collect()
    }

    #[test]
    fn a_path_is_matched_in_one_form_and_kept_as_it_came() {
        for (raw, matched) in [
            ("/", "/"),
            ("/v1/orders/", "/v1/orders/"),
            ("/%61dmin", "/admin"),
            ("/a%20b%c3%a4", "/a%20b%C3%A4"),
            ("/~a/%7Ea", "/~a/~a"),
            ("/x%3ay", "/x%3Ay"),
            ("/\"{}|^", "/\"{}|^"),
            ("/a%23b/c%3fd", "/a%23b/c%3Fd"),
            ("/...", "/..."),
            ("/.a/a./..a", "/.a/a./..a"),
        ] {
            let path = Path::read(raw).unwrap();
            assert_eq!(path.as_str(), matched);
            let oddities = path.readings().map(|readings| readings.oddities);
            assert!(oddities.is_none_or(Oddities::is_empty), "{raw}");
        }
    }

    #[test]
    fn what_is_read_in_two_ways_is_named_with_its_place() {
        let check = |raw: &str, expected: &[(&str, &str)]| {
            let expected: Vec<_> = expected
                .iter()
                .map(|(kind, place)| (*kind, (*place).to_owned()))
                .collect();
            assert_eq!(kinds(raw), expected, "{raw}");
        };
        check("/a;v=1", &[("semicolons", "2 ;")]);
        check("/a%3Bb", &[("semicolons", "2 %3B")]);
        check("/a%25b", &[("encoded_percents", "2 %25")]);
        check("/a%FFb", &[("not_utf8", "2 %FF")]);
        check("//", &[("empty_segments", "0 /")]);
        check("/a//b", &[("empty_segments", "2 /")]);
        check("/./a", &[("dot_segments", "1 .")]);
        check("/a/..", &[("dot_segments", "3 ..")]);
        check("/%2e%2E/a", &[("dot_segments", "1 %2e%2E")]);
        check("/a%2fb", &[("encoded_slashes", "2 %2f")]);
        check("/a\\b", &[("backslashes", "2 \\")]);
        check("/a%5cb", &[("backslashes", "2 %5c")]);
    }

    /// Each names `..` to somebody, whatever else it is.
    #[test]
    fn a_dot_segment_is_known_in_every_disguise() {
        for raw in [
            "/echo/..%23/admin",
            "/echo/..%3f/admin",
            "/echo/..%3Fx/admin",
            "/echo/..%20/admin",
            "/echo/%20..%20%20/admin",
            "/echo/..%c2%a0/admin",
            "/echo/..%c2%85/admin",
            "/echo/..%e3%80%80/admin",
            "/echo/%e2%80%8b../admin",
            "/echo/.%20/admin",
            "/echo/.%23/admin",
            "/echo/..;/admin",
            "/echo/..;x=1/admin",
            "/echo/..%3b/admin",
            "/echo/..%2fadmin",
            "/echo/x%2f..%2f..%2fadmin",
            "/echo/..\\admin",
            "/echo/..%5cadmin",
            "/echo/%252e%252e/admin",
            "/echo/%25252e%25252e/admin",
            "/echo/..%252fadmin",
            "/echo/..%2523/admin",
            "/echo/%c0%ae%c0%ae/admin",
            "/echo/%e0%80%ae%e0%80%ae/admin",
            "/echo/%f0%80%80%ae./admin",
            "/echo/..%c0%afadmin",
            "/echo/%ef%bc%8e%ef%bc%8e/admin",
            "/echo/.%ef%bc%8e/admin",
            "/echo/%e2%80%a5/admin",
            "/echo/%e2%80%a4%e2%80%a4/admin",
            "/echo/%ef%b8%b0/admin",
            "/echo/%ef%b9%92%ef%b9%92/admin",
            "/echo/..%ef%bc%8fadmin",
            "/echo/..%ef%bc%bcadmin",
            "/echo/..%ef%bc%83/admin",
            "/echo/..%ef%bc%9b/admin",
        ] {
            let path = Path::read(raw).unwrap();
            let readings = path.readings().unwrap_or_else(|| panic!("{raw}"));
            assert!(readings.oddities.contains(Oddity::DotSegments), "{raw}");
        }
    }

    #[test]
    fn characters_that_become_others_are_named() {
        for raw in [
            "/a%ef%bc%8fb",
            "/a%e2%80%a6",
            "/%e2%84%80",
            "/a%ef%bc%85b",
            "/%ef%b9%a8",
            "/a%cd%beb",
            "/%f0%9f%84%80",
            "/a%c0%afb",
        ] {
            let found = kinds(raw);
            assert!(found.iter().any(|(kind, _)| *kind == "lookalikes"), "{raw}");
        }
        for plain in ["/caf%c3%a9", "/%e4%bd%a0", "/%f0%9f%98%80", "/%c2%bd"] {
            assert!(kinds(plain).is_empty(), "{plain}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_its_place() {
        let check = |raw: &str, fault: PathFault, at: usize| {
            let refused = Path::read(raw).map_err(|why| (why.fault, why.at));
            assert_eq!(refused, Err((fault, at)), "{raw:?}");
        };
        check("", PathFault::Start, 0);
        check("a", PathFault::Start, 0);
        check("*", PathFault::Start, 0);
        check("/a b", PathFault::Control, 2);
        check("/a\0", PathFault::Control, 2);
        check("/a\u{7f}", PathFault::Control, 2);
        check("/a%00", PathFault::Control, 2);
        check("/a%0d%0a", PathFault::Control, 2);
        check("/%7f", PathFault::Control, 1);
        check("/a#b", PathFault::Fragment, 2);
        check("/a?b", PathFault::Fragment, 2);
        check("/a%", PathFault::Escape, 2);
        check("/a%2", PathFault::Escape, 2);
        check("/a%zz", PathFault::Escape, 2);
        check("/%u002e", PathFault::Escape, 1);
        check("/ä", PathFault::NotAscii, 1);
    }

    #[test]
    fn other_readers_come_to_other_paths() {
        let others = |raw: &str| {
            let path = Path::read(raw).unwrap();
            path.readings()
                .map(|readings| (readings.others.clone(), readings.floor))
        };
        let check = |raw: &str, expected: &[&str], floor: i32| {
            let expected: Vec<_> = expected.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(others(raw), Some((expected, floor)), "{raw}");
        };
        check("/files/a/../b", &["/files/b"], 1);
        check("/files/../admin", &["/admin"], 0);
        check("/../../etc", &["/etc"], -2);
        check("/files//../admin", &["/admin"], 0);
        check("/files/a%2f../../b", &["/b"], -1);
        check("/admin;x=1/a", &["/admin/a"], i32::MAX);
        check("/a%252fb", &["/a/b"], i32::MAX);
        check("/admin%23/x", &["/admin/x", "/admin"], i32::MAX);
        check("/admin%20", &["/admin"], i32::MAX);
        check("/a%2Fb;c", &["/a/b", "/a%2Fb"], i32::MAX);
        assert_eq!(others("/a%20b"), None);
        assert_eq!(others("/caf%c3%a9"), None);
    }

    #[test]
    fn a_path_of_nothing_but_encodings_is_read_in_time() {
        let raw = format!("/%{}", "25".repeat(8000));
        let path = Path::read(&raw).unwrap();
        assert!(path.readings().is_some());
    }

    proptest! {
        #[test]
        fn reading_the_matched_form_again_changes_nothing(raw in "/[a-zA-Z0-9%./;~_-]{0,30}") {
            if let Ok(path) = Path::read(&raw) {
                let again = Path::read(path.as_str()).unwrap();
                prop_assert_eq!(again.as_str(), path.as_str());
                let kinds = |path: &Path<'_>| path.readings().map(|readings| readings.oddities);
                prop_assert_eq!(kinds(&again), kinds(&path));
            }
        }

        /// A reader that decodes, cuts and resolves as much as any known server finds no way up in a path without oddities.
        #[test]
        fn a_path_without_oddities_has_no_way_up(
            parts in proptest::collection::vec(
                proptest::sample::select(vec!["/", ".", "..", "%2e", "a", "%23", "%20", "%3f", "%c2%a0", "%41"]), 0..12),
        ) {
            let raw = format!("/{}", parts.concat());
            let Ok(path) = Path::read(&raw) else { return Ok(()) };
            if path.readings().is_some_and(|readings| !readings.oddities.is_empty()) {
                return Ok(());
            }
            let decoded = path.as_str().replace("%20", " ").replace("%C2%A0", " ");
            for segment in decoded.split('/') {
                let cut = segment.split("%23").next().unwrap_or_default();
                let cut = cut.split("%3F").next().unwrap_or_default();
                prop_assert!(!matches!(cut.trim(), "." | ".."), "{}", raw);
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,60}", escapes in "/[%0-9a-fA-F./;]{0,60}") {
            let _ = Path::read(&text);
            let _ = Path::read(&escapes);
        }
    }
}
