//! The host that a request is for.

use std::cell::RefCell;
use std::sync::Arc;

use http::{HeaderValue, header};

use crate::domain::reason::Reason;
use crate::domain::request::normal_host;

use super::message::Request;

/// A host, in its one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// As routes are found by: lower case, without port and trailing dot.
    pub name: Arc<str>,
    /// What the upstream is told: the same name, with the port that the caller gave. Has bytes of its own, and keeps
    /// no request's head from being let go.
    pub value: HeaderValue,
}

/// The last host that the requests of a connection were for, and how they spelt it: the next one is nearly always for
/// the same.
#[derive(Debug, Default)]
pub struct LastHost(RefCell<Option<(Box<[u8]>, Host)>>);

impl LastHost {
    /// Finds the one host of a request: `Host`, `:authority` and the target's absolute form must agree.
    pub fn of(&self, request: &Request) -> Result<Host, Reason> {
        let field = request.fields.one(&header::HOST);
        let field = field.ok().ok_or(Reason::HeaderInvalid)?;
        let target = request.uri.authority().map(http::uri::Authority::as_str);
        let said = match (field, target) {
            (Some(field), None) => field.as_bytes(),
            (None, Some(target)) => target.as_bytes(),
            _ => return read(field, target),
        };
        let mut last = self.0.borrow_mut();
        if let Some((known, host)) = &*last
            && **known == *said
        {
            return Ok(host.clone());
        }
        let host = read(field, target)?;
        *last = Some((said.into(), host.clone()));
        Ok(host)
    }
}

fn read(field: Option<&HeaderValue>, target: Option<&str>) -> Result<Host, Reason> {
    let field = field.map(|value| value.to_str().ok().ok_or(Reason::HostInvalid));
    let field = field.transpose()?;
    let raw = target.or(field).ok_or(Reason::HostInvalid)?;
    let name = normal_host(raw).ok_or(Reason::HostInvalid)?;
    if let (Some(field), Some(target)) = (field, target) {
        let other = normal_host(field).ok_or(Reason::HostInvalid)?;
        if other != name || port(field) != port(target) {
            return Err(Reason::HostInvalid);
        }
    }
    Ok(Host {
        value: value(&name, port(raw)).ok_or(Reason::HostInvalid)?,
        name: name.into(),
    })
}

fn value(name: &str, port: &str) -> Option<HeaderValue> {
    if port.is_empty() {
        HeaderValue::from_str(name).ok()
    } else {
        HeaderValue::from_str(&format!("{name}:{port}")).ok()
    }
}

/// The digits after the colon that ends an authority, if any.
fn port(authority: &str) -> &str {
    let after_brackets = authority.rsplit(']').next().unwrap_or(authority);
    after_brackets.split_once(':').map_or("", |(_, port)| port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host_of(uri: &str, hosts: &[&str]) -> Result<(String, String), Reason> {
        let mut request = http::Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let host = LastHost::default().of(&parts.into())?;
        Ok((
            (*host.name).to_owned(),
            host.value.to_str().unwrap().to_owned(),
        ))
    }

    #[test]
    fn a_request_has_one_host_however_it_names_it() {
        let check = |uri: &str, hosts: &[&str], expected: Result<(&str, &str), Reason>| {
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(host_of(uri, hosts), expected, "{uri} {hosts:?}");
        };
        check(
            "/",
            &["api.example.com"],
            Ok(("api.example.com", "api.example.com")),
        );
        check(
            "/",
            &["API.example.com."],
            Ok(("api.example.com", "api.example.com")),
        );
        check(
            "/",
            &["api.example.com:8443"],
            Ok(("api.example.com", "api.example.com:8443")),
        );
        check(
            "https://api.example.com/",
            &[],
            Ok(("api.example.com", "api.example.com")),
        );
        check(
            "https://api.example.com/",
            &["Api.example.com"],
            Ok(("api.example.com", "api.example.com")),
        );
        check(
            "https://[::1]:8443/",
            &["[::1]:8443"],
            Ok(("[::1]", "[::1]:8443")),
        );
        check(
            "https://api.example.com/",
            &["other.example.com"],
            Err(Reason::HostInvalid),
        );
        check(
            "https://api.example.com/",
            &["api.example.com:1"],
            Err(Reason::HostInvalid),
        );
        check(
            "https://user@api.example.com/",
            &[],
            Err(Reason::HostInvalid),
        );
        check(
            "/",
            &["a.example.com", "a.example.com"],
            Err(Reason::HeaderInvalid),
        );
        check("/", &[], Err(Reason::HostInvalid));
        check("/", &[""], Err(Reason::HostInvalid));
        check("/", &["a b"], Err(Reason::HostInvalid));
    }

    /// What was found for one request is never given to another that says something else.
    #[test]
    fn the_last_host_is_asked_for_by_the_very_words() {
        let last = LastHost::default();
        let ask = |uri: &str, host: Option<&str>| {
            let mut request = http::Request::builder().uri(uri);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            last.of(&parts.into())
                .map(|host| host.value.to_str().unwrap().to_owned())
        };
        let (a, b) = ("a.example.com", "b.example.com");
        assert_eq!(ask("/", Some(a)).unwrap(), a);
        assert_eq!(ask("/", Some(a)).unwrap(), a);
        assert_eq!(ask("/", Some(b)).unwrap(), b);
        assert_eq!(
            ask("/", Some("b.example.com:8443")).unwrap(),
            "b.example.com:8443"
        );
        assert_eq!(ask("https://a.example.com/", None).unwrap(), a);
        assert_eq!(
            ask("https://a.example.com/", Some(b)),
            Err(Reason::HostInvalid)
        );
        assert_eq!(ask("/", Some("a b")), Err(Reason::HostInvalid));
        assert_eq!(ask("/", None), Err(Reason::HostInvalid));
        assert_eq!(ask("/", Some(a)).unwrap(), a);
    }

    proptest! {
        #[test]
        fn a_host_that_is_taken_has_one_form(text in "[ -~]{0,40}") {
            if let Ok((name, value)) = host_of("/", &[&text]) {
                prop_assert_eq!(host_of("/", &[&value]), Ok((name.clone(), value)));
                prop_assert!(!name.contains(['@', ' ', ',', '/', '\\']), "{}", name);
            }
        }
    }
}
