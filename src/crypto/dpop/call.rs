//! The request that a proof is for: its method and its target, compared as URIs are (RFC 3986, 6.2.2 and 6.2.3).

use super::algorithms::Algorithms;

/// A request, as its caller has addressed it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub method: &'a str,
    /// The hosts that the caller may have named, each with a port or without one.
    pub authorities: &'a [&'a str],
    /// The path, as it was sent.
    pub path: &'a str,
    /// The algorithms that may sign a proof for it.
    pub algorithms: Algorithms,
}

impl Call<'_> {
    /// True if `htm` is this method. Methods are compared as they stand.
    pub fn is_by(&self, htm: &str) -> bool {
        htm == self.method
    }

    /// True if `htu` is the target of this request. A query or a fragment in it is passed over (RFC 9449,
    /// 4.3).
    pub fn is_to(&self, htu: &str) -> bool {
        let Some((authority, path)) = split(htu) else {
            return false;
        };
        let mut authorities = self.authorities.iter();
        authorities.any(|named| same_authority(named, authority)) && same_path(self.path, path)
    }
}

/// Authority and path of an `https` URI.
fn split(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (rest, _) = rest.split_at_checked(end)?;
    let path = rest.find('/').unwrap_or(rest.len());
    rest.split_at_checked(path)
}

fn same_authority(one: &str, other: &str) -> bool {
    let usual = |text: &str| {
        let text = text.strip_suffix(":443").unwrap_or(text);
        text.strip_suffix(':').unwrap_or(text).len()
    };
    let (one, other) = (one.get(..usual(one)), other.get(..usual(other)));
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    !one.is_empty() && one.eq_ignore_ascii_case(other)
}

/// True if both are the same path: escapes of characters that need none are those characters.
fn same_path(one: &str, other: &str) -> bool {
    let (one, other) = (or_root(one), or_root(other));
    one == other || Units::of(one).eq(Units::of(other))
}

const fn or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// A character of a path, or an octet that is escaped in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Plain(u8),
    Escaped(u8),
}

/// The units of a path in order.
struct Units<'p>(&'p [u8]);

impl<'p> Units<'p> {
    fn of(path: &'p str) -> Self {
        Self(path.as_bytes())
    }
}

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        let (unit, rest) = match self.0 {
            [] => return None,
            [b'%', high, low, rest @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (unescaped(high << 4 | low), rest),
                _ => (Unit::Plain(b'%'), self.0.get(1..).unwrap_or_default()),
            },
            [byte, rest @ ..] => (Unit::Plain(*byte), rest),
        };
        self.0 = rest;
        Some(unit)
    }
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

const fn unescaped(octet: u8) -> Unit {
    match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => Unit::Plain(octet),
        _ => Unit::Escaped(octet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::token_profile::TokenProfile;
    use proptest::prelude::*;

    fn call<'a>(authorities: &'a [&'a str], path: &'a str) -> Call<'a> {
        Call {
            method: "GET",
            authorities,
            path,
            algorithms: Algorithms::of(TokenProfile::Standard),
        }
    }

    #[test]
    fn a_target_is_the_same_in_every_spelling_of_it() {
        let hosts = ["api.test", "other.test:8443"];
        for (path, htu) in [
            ("/v1/a", "https://api.test/v1/a"),
            ("/v1/a", "HTTPS://API.Test:443/v1/a"),
            ("/v1/a", "https://api.test:/v1/a"),
            ("/v1/a", "https://other.test:8443/v1/a"),
            ("/v1/a", "https://api.test/v1/a?x=1#part"),
            ("/v1/%61~", "https://api.test/v1/a%7e"),
            ("/v1/%2f", "https://api.test/v1/%2F"),
            ("/", "https://api.test"),
            ("/", "https://api.test?x"),
            ("", "https://api.test/"),
        ] {
            assert!(call(&hosts, path).is_to(htu), "{path} {htu}");
        }
    }

    #[test]
    fn another_target_is_another() {
        let hosts = ["api.test", "other.test:8443", ""];
        for htu in [
            "http://api.test/v1/a",
            "https://api.test/v1/A",
            "https://api.test/v1/a/",
            "https://api.test/v1%2Fa",
            "https://api.test/v1/%",
            "https://api.test/v1",
            "https://api.test.evil.test/v1/a",
            "https://user@api.test/v1/a",
            "https://api.test:8443/v1/a",
            "https://other.test/v1/a",
            "https://evil.test/v1/a?https://api.test/v1/a",
            "https:///v1/a",
            "//api.test/v1/a",
            "/v1/a",
            "",
        ] {
            assert!(!call(&hosts, "/v1/a").is_to(htu), "{htu}");
        }
        assert!(call(&hosts, "/").is_by("GET"));
        for htm in ["get", "POST", "GET ", ""] {
            assert!(!call(&hosts, "/").is_by(htm), "{htm}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(htu in "\\PC{0,60}", path in "[%/a-fA-F0-9]{0,20}") {
            let hosts = ["api.test"];
            let call = call(&hosts, &path);
            let _ = call.is_to(&htu);
            let same = format!("https://api.test{path}");
            prop_assert!(!path.starts_with('/') || call.is_to(&same));
        }
    }
}
