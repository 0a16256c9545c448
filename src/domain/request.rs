//! The parts of a request that routes and policies use.

use std::borrow::Cow;

use super::path::Path;

/// The part of a request that decides where it goes.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Lower case, without port and trailing dot.
    pub host: &'a str,
    pub path: &'a Path<'a>,
    pub method: &'a http::Method,
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
        fn no_text_makes_the_reader_of_hosts_panic(text in "\\PC{0,60}") {
            let _ = normal_host(&text);
        }
    }
}
