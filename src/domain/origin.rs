//! Origins of browsers (RFC 6454): those that a publishable key may be used from, and the sender of a request.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most origins that one key may be bound to.
pub const ORIGINS_MAX: usize = 32;

/// The longest origin: a scheme, a host name of 253 characters and a port.
const ORIGIN_CHARS_MAX: usize = 280;

/// An origin that a key may be used from: `https://shop.example`, `https://*.shop.example` for any one label, or `*`.
///
/// It is kept in the form that browsers send: lower case, without a path and without the port of its scheme.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginPattern(Box<str>);

/// A text that is not an [`OriginPattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is https://host or https://host:port without a path, with * for one whole first label, or * alone"
)]
pub struct InvalidOrigin;

impl OriginPattern {
    /// Matches any origin that a browser names; a missing one and `null` are none.
    pub const ANY: &'static str = "*";

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if a browser's page of `origin` may use the key.
    pub fn takes(&self, origin: &str) -> bool {
        if origin == NULL {
            return false;
        }
        let Some((scheme, domain)) = self.0.split_once(WILDCARD) else {
            return *self.0 == *Self::ANY || *self.0 == *origin;
        };
        // The label of the wildcard is not empty and has no dot: the rest of the name is compared whole.
        origin
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix("://"))
            .and_then(|host| host.split_once('.'))
            .is_some_and(|(label, rest)| !label.is_empty() && rest == domain)
    }
}

/// The text between a pattern's scheme and the part that is compared.
const WILDCARD: &str = "://*.";

/// The origin of a page that has none, for example a file or a sandboxed frame.
const NULL: &str = "null";

/// The patterns that take `origin`, if it is one.
pub fn patterns_of(origin: &str) -> [Option<OriginPattern>; 3] {
    let pattern = |text: String| text.parse::<OriginPattern>().ok();
    let exact = pattern(origin.to_owned()).filter(|exact| !exact.0.contains('*'));
    let parts = exact.as_ref().and_then(|_| origin.split_once("://"));
    let wildcard = parts.and_then(|(scheme, host)| {
        let (_, domain) = host.split_once('.')?;
        pattern(format!("{scheme}{WILDCARD}{domain}"))
    });
    let any = (exact.is_some()).then(|| OriginPattern(OriginPattern::ANY.into()));
    [exact, wildcard, any]
}

impl std::str::FromStr for OriginPattern {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == Self::ANY {
            return Ok(Self(text.into()));
        }
        if text.len() > ORIGIN_CHARS_MAX || !text.is_ascii() {
            return Err(InvalidOrigin);
        }
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin)?;
        let default_port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return Err(InvalidOrigin),
        };
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        let named = authority.strip_prefix("*.").unwrap_or(authority);
        let host = super::request::normal_host(named).ok_or(InvalidOrigin)?;
        // A wildcard over a whole top-level domain is a typing error; an address has no labels.
        let wild = named.len() < authority.len();
        if wild && (!host.contains('.') || host.starts_with('[')) || ends_odd(named, &host) {
            return Err(InvalidOrigin);
        }
        Ok(Self(format!("{scheme}://{authority}").into()))
    }
}

/// True if an authority has something that browsers do not send: a dot at the host's end, or a colon without a port.
fn ends_odd(authority: &str, host: &str) -> bool {
    let rest = authority.get(host.len()..).unwrap_or_default();
    !rest.is_empty() && (!rest.starts_with(':') || rest.len() == 1)
}

impl TryFrom<String> for OriginPattern {
    type Error = InvalidOrigin;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<OriginPattern> for String {
    fn from(origin: OriginPattern) -> Self {
        origin.0.into()
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// True if a browser sends a request for a page of another site than `host`: by `Sec-Fetch-Site`, or by `Origin`.
///
/// Only browsers send these fields, and no script of a page can change them. Another program can, and gains nothing:
/// it is none of those that have to be told from others here.
pub fn is_of_another_site(origin: Option<&str>, fetch_site: Option<&str>, host: &str) -> bool {
    if fetch_site == Some("cross-site") {
        return true;
    }
    let same_site = matches!(fetch_site, Some("same-origin" | "same-site"));
    let Some(origin) = origin.filter(|_| !same_site) else {
        return false;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let named = authority.and_then(super::request::normal_host);
    named.is_none_or(|named| named != host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> OriginPattern {
        text.parse().unwrap()
    }

    #[test]
    fn an_origin_is_taken_whole_or_by_one_label() {
        for (written, origin, taken) in [
            ("https://shop.example", "https://shop.example", true),
            ("https://SHOP.example:443", "https://shop.example", true),
            ("https://shop.example", "https://shop.example:8443", false),
            (
                "https://shop.example:8443",
                "https://shop.example:8443",
                true,
            ),
            ("https://shop.example", "http://shop.example", false),
            (
                "https://shop.example",
                "https://shop.example.evil.test",
                false,
            ),
            ("https://shop.example", "https://evilshop.example", false),
            ("https://shop.example", "null", false),
            ("https://shop.example", "", false),
            ("https://*.shop.example", "https://a.shop.example", true),
            ("https://*.shop.example", "https://a.b.shop.example", false),
            ("https://*.shop.example", "https://shop.example", false),
            ("https://*.shop.example", "https://.shop.example", false),
            (
                "https://*.shop.example",
                "https://a.shop.example.evil.test",
                false,
            ),
            ("https://*.shop.example", "http://a.shop.example", false),
            (
                "https://*.shop.example:8443",
                "https://a.shop.example:8443",
                true,
            ),
            (
                "https://*.shop.example:8443",
                "https://a.shop.example",
                false,
            ),
            ("http://localhost:3000", "http://localhost:3000", true),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("*", "https://anything.example", true),
            ("*", "null", false),
        ] {
            assert_eq!(pattern(written).takes(origin), taken, "{written} {origin}");
            let listed = patterns_of(origin).into_iter().flatten();
            let found = listed.into_iter().any(|listed| listed == pattern(written));
            assert_eq!(found, taken, "by look-up: {written} {origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "",
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://shop.example/path",
            "https://user@shop.example",
            "https://shop.example?x",
            "https://*.example.*",
            "https://*shop.example",
            "https://*.",
            "https://*.com",
            "https://a.*.example",
            "https://shop.example.",
            "https://shop.example:",
            "https://shop.example:x",
            "ftp://shop.example",
            "null",
            "https://ä.example",
            "https://a b",
            "**",
        ] {
            assert!(bad.parse::<OriginPattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_known_by_what_only_browsers_send() {
        const HOST: &str = "api.example.com";
        for (origin, fetch_site, other) in [
            (None, None, false),
            (None, Some("none"), false),
            (None, Some("cross-site"), true),
            (Some("https://api.example.com"), None, false),
            (Some("https://api.example.com:8443"), None, false),
            (Some("https://evil.test"), None, true),
            (Some("https://api.example.com.evil.test"), None, true),
            (Some("null"), None, true),
            (Some(""), None, true),
            (Some("https://app.example.com"), Some("same-site"), false),
            (Some("https://api.example.com"), Some("same-origin"), false),
            (Some("https://api.example.com"), Some("cross-site"), true),
        ] {
            let found = is_of_another_site(origin, fetch_site, HOST);
            assert_eq!(found, other, "{origin:?} {fetch_site:?}");
        }
    }
}
