//! The parts of a request that routes and policies use, in the one form that is matched and forwarded.

use std::borrow::Cow;

/// The part of a request that decides where it goes.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Lower case, without port and trailing dot.
    pub host: &'a str,
    pub path: &'a Path<'a>,
    pub method: &'a http::Method,
}

/// A request's path as it is matched and forwarded, byte for byte the same for both.
///
/// Percent-encoded letters, digits, `-`, `.`, `_` and `~` are decoded and other encodings get upper-case
/// digits (RFC 3986, 6.2.2); nothing else is changed. A path which an upstream might read in another
/// way than we do is marked as ambiguous, and no route takes it unless its operator says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    text: Cow<'a, str>,
    ambiguous: bool,
}

/// A path that no route can take: it does not begin with `/`, or holds a NUL, another control character,
/// a blank, `#`, a byte outside ASCII, or a `%` without two hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a path that can be forwarded")]
pub struct InvalidPath;

impl<'a> Path<'a> {
    /// Reads the path of a request target, without its query.
    pub fn read(raw: &'a str) -> Result<Self, InvalidPath> {
        if !raw.starts_with('/') || raw.bytes().any(never_in_a_path) {
            return Err(InvalidPath);
        }
        let (text, decoded_is_text) = if raw.contains('%') {
            normalise(raw)?
        } else {
            (Cow::Borrowed(raw), true)
        };
        let ambiguous = !decoded_is_text || is_ambiguous(&text);
        Ok(Self { text, ambiguous })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True for paths that gateways and upstreams are known to interpret differently: empty or dot segments,
    /// encoded slashes, backslashes and percent signs, parameters after `;`, or bytes that are not UTF-8.
    pub fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }
}

fn never_in_a_path(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f || byte == b'#' || byte == b'?'
}

fn normalise(raw: &str) -> Result<(Cow<'_, str>, bool), InvalidPath> {
    let mut text = String::with_capacity(raw.len());
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            text.push(char::from(byte));
            decoded.push(byte);
            continue;
        }
        let value = bytes.next().and_then(hex).zip(bytes.next().and_then(hex));
        let value = value
            .map(|(high, low)| high << 4 | low)
            .ok_or(InvalidPath)?;
        if value < b' ' || value == 0x7f {
            return Err(InvalidPath);
        }
        decoded.push(value);
        if value.is_ascii_alphanumeric() || b"-._~".contains(&value) {
            text.push(char::from(value));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            text.push('%');
            for digit in [value >> 4, value & 15] {
                text.push(char::from(
                    DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0'),
                ));
            }
        }
    }
    Ok((Cow::Owned(text), std::str::from_utf8(&decoded).is_ok()))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn is_ambiguous(text: &str) -> bool {
    // Few paths have any of these, so one look at each byte is all that most of them cost.
    let odd = text.bytes().any(|byte| matches!(byte, b'\\' | b';' | b'%'));
    let codes = ["\\", ";", "%2F", "%5C", "%3B", "%25"];
    if odd && codes.iter().any(|code| text.contains(code)) {
        return true;
    }
    let mut segments = text
        .as_bytes()
        .split(|byte| *byte == b'/')
        .skip(1)
        .peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if matches!(segment, b"." | b"..") || (segment.is_empty() && !last) {
            return true;
        }
    }
    false
}

/// The host of a request in the form that routes are found by: lower case, without port and trailing dot.
/// `None` when it is not a host name or an address.
pub fn normal_host(authority: &str) -> Option<Cow<'_, str>> {
    let (host, port) = split_port(authority)?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.len() > 5 {
        return None;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let address = host.starts_with('[');
    let fits = (1..=253).contains(&host.len());
    // With a second dot at its end, the next reader would take one off and have another host than we.
    let empty_label = host.split('.').any(str::is_empty);
    if !fits || empty_label || (!address && !host.bytes().all(plain)) {
        return None;
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Some(Cow::Owned(host.to_ascii_lowercase()))
    } else {
        Some(Cow::Borrowed(host))
    }
}

fn split_port(authority: &str) -> Option<(&str, &str)> {
    if authority.starts_with('[') {
        let end = authority.find(']')?;
        let (host, rest) = authority.split_at_checked(end + 1)?;
        let inside = host.strip_prefix('[')?.strip_suffix(']')?;
        inside.parse::<std::net::Ipv6Addr>().ok()?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, port)),
            None if rest.is_empty() => Some((host, "")),
            None => None,
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, port)),
        None => Some((authority, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(raw: &str, expected: Option<(&str, bool)>) {
        let path = Path::read(raw).ok();
        let seen = path
            .as_ref()
            .map(|path| (path.as_str(), path.is_ambiguous()));
        assert_eq!(seen, expected, "{raw:?}");
    }

    #[test]
    fn a_path_has_one_form() {
        check("/", Some(("/", false)));
        check("/v1/orders/", Some(("/v1/orders/", false)));
        check("/%61dmin", Some(("/admin", false)));
        check("/a%20b%c3%a4", Some(("/a%20b%C3%A4", false)));
        check("/~a/%7Ea", Some(("/~a/~a", false)));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_marked() {
        for raw in [
            "//",
            "/a//b",
            "/./a",
            "/a/.",
            "/a/..",
            "/../a",
            "/%2e%2E/a",
            "/a%2fb",
            "/a%2Fb",
            "/a\\b",
            "/a%5cb",
            "/a;b",
            "/a%3Bb",
            "/%252e",
            "/%c0%af",
            "/%ff",
        ] {
            assert!(Path::read(raw).unwrap().is_ambiguous(), "{raw}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for raw in [
            "", "a", "*", "/a b", "/a\0", "/a%00", "/a%0d%0a", "/a#b", "/a?b", "/a%", "/a%2",
            "/a%zz", "/ä", "/a\u{7f}", "/%7f",
        ] {
            check(raw, None);
        }
    }

    #[test]
    fn a_host_has_one_form() {
        for (authority, expected) in [
            ("api.example.com", Some("api.example.com")),
            ("API.Example.com:8443", Some("api.example.com")),
            ("api.example.com.", Some("api.example.com")),
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("", None),
            (":80", None),
            ("a b", None),
            ("a:b", None),
            ("user@host", None),
            ("a/b", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[x]", None),
            ("a:123456", None),
            (".a", None),
            ("a..b", None),
            ("a..", None),
            ("a..:80", None),
            (".", None),
        ] {
            assert_eq!(normal_host(authority).as_deref(), expected, "{authority:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_a_path_twice_changes_nothing(raw in "/[a-zA-Z0-9%./;~_-]{0,30}") {
            if let Ok(path) = Path::read(&raw) {
                let again = Path::read(path.as_str()).unwrap();
                prop_assert_eq!(again.as_str(), path.as_str());
                prop_assert!(!path.is_ambiguous() || again.is_ambiguous());
            }
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,60}") {
            let _ = Path::read(&text);
            let _ = normal_host(&text);
        }
    }
}
