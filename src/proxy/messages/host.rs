//! The host of a request.

use std::cell::RefCell;
use std::sync::Arc;

use http::{HeaderValue, Version, header};

use crate::domain::reason::Reason;
use crate::domain::request::normal_host;

use super::message::Request;
use super::offence::Offence;
use super::refusal::Refusal;

/// A host, in its normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name for routing: lower case, without port and trailing dot.
    pub name: Arc<str>,
    /// The `Host` for the upstream: the same name, with the caller's port. It owns its bytes, so that it keeps no
    /// request's head in memory.
    pub value: HeaderValue,
}

/// The last host of a connection's requests, and its spelling: the next request nearly always has the same one.
#[derive(Debug, Default)]
pub struct LastHost(RefCell<Option<(Box<[u8]>, Host)>>);

impl LastHost {
    /// The one host of a request: `Host`, `:authority` and the target's absolute form must agree. `any` is true if some
    /// route serves every host, and with it clients that name none.
    pub fn of(&self, request: &Request, any: bool) -> Result<Host, Refusal> {
        let Ok(field) = request.fields.one(&header::HOST) else {
            let says = "The request has more than one Host";
            let offence = Offence::new("hosts", says, None, b"");
            return Err(Refusal::naming(Reason::HeaderInvalid, offence));
        };
        let target = request.uri.authority().map(http::uri::Authority::as_str);
        let said = match (field, target) {
            (Some(field), None) => field.as_bytes(),
            (None, Some(target)) => target.as_bytes(),
            (Some(field), Some(target)) => {
                let scheme = request.uri.scheme_str();
                return agreed(field, target, scheme);
            }
            (None, None) => return none(request.version, any),
        };
        let mut last = self.0.borrow_mut();
        if let Some((known, host)) = &*last
            && **known == *said
        {
            return Ok(host.clone());
        }
        let host = read(said)?;
        *last = Some((said.into(), host.clone()));
        Ok(host)
    }
}

fn read(said: &[u8]) -> Result<Host, Refusal> {
    let raw = ascii(said)?;
    let name = normal_host(raw).ok_or_else(|| no_host(said))?;
    Ok(Host {
        value: value(&name, port(raw)).ok_or_else(|| no_host(said))?,
        name: name.into(),
    })
}

/// The host of a request that names it twice. The default port of its scheme may be left out.
fn agreed(field: &HeaderValue, target: &str, scheme: Option<&str>) -> Result<Host, Refusal> {
    let said = field.as_bytes();
    let written = ascii(said)?;
    let name = normal_host(target).ok_or_else(|| no_host(target.as_bytes()))?;
    let other = normal_host(written).ok_or_else(|| no_host(said))?;
    let usual = match scheme {
        Some("http") => "80",
        _ => "443",
    };
    let port = |authority| Some(port(authority)).filter(|port| *port != usual);
    let (port, field_port) = (port(target), port(written));
    if other != name || port.unwrap_or_default() != field_port.unwrap_or_default() {
        let says = "Host and the request target name different hosts";
        return Err(refused("hosts", says, said));
    }
    Ok(Host {
        value: value(&name, port.unwrap_or_default()).ok_or_else(|| no_host(said))?,
        name: name.into(),
    })
}

/// The host of a request that names none. HTTP/1.0 allows that, and is served where every host is.
fn none(version: Version, any: bool) -> Result<Host, Refusal> {
    match version {
        Version::HTTP_10 if any => Ok(Host {
            name: NO_NAME.into(),
            value: HeaderValue::from_static(""),
        }),
        Version::HTTP_10 => {
            let says = "The request has no Host, and no route here serves every host";
            Err(refused("host_missing", says, b""))
        }
        _ => Err(refused("host_missing", "The request has no Host", b"")),
    }
}

/// The host of a request without one. It matches no pattern but `*`.
const NO_NAME: &str = "*";

fn ascii(said: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(said).ok();
    text.filter(|text| text.is_ascii())
        .ok_or_else(|| no_host(said))
}

fn no_host(said: &[u8]) -> Refusal {
    refused(
        "host_name",
        "The Host is not a host name with at most a port",
        said,
    )
}

fn refused(rule: &'static str, says: &'static str, sent: &[u8]) -> Refusal {
    let offence = Offence::new(rule, says, None, sent);
    Refusal::naming(Reason::HostInvalid, offence)
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
        let host = LastHost::default().of(&parts.into(), true);
        let host = host.map_err(|refusal| refusal.reason)?;
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

    #[test]
    fn the_port_of_the_scheme_is_the_same_as_none() {
        let host = "api.example.com";
        for (uri, field, expected) in [
            ("https://api.example.com:443/x", host, Ok(host)),
            ("https://api.example.com/x", "api.example.com:443", Ok(host)),
            ("http://api.example.com:80/x", host, Ok(host)),
            (
                "https://API.example.com.:443/",
                "api.example.com:443",
                Ok(host),
            ),
            (
                "https://api.example.com:443/",
                "api.example.com:8443",
                Err(()),
            ),
            ("https://api.example.com:80/", host, Err(())),
            ("http://api.example.com:443/", host, Err(())),
            ("https://api.example.com:443/", "other.example.com", Err(())),
            (
                "https://api.example.com:443/",
                "other.example.com:443",
                Err(()),
            ),
            ("https://api.example.com:443/", "", Err(())),
        ] {
            let found = host_of(uri, &[field]).map(|(_, value)| value);
            let expected = expected
                .map(str::to_owned)
                .map_err(|()| Reason::HostInvalid);
            assert_eq!(found, expected, "{uri} {field}");
        }
    }

    #[test]
    fn only_http_1_0_may_name_no_host_and_only_where_any_is_served() {
        for (version, any, expected) in [
            (Version::HTTP_10, true, Ok("*")),
            (Version::HTTP_10, false, Err(Reason::HostInvalid)),
            (Version::HTTP_11, true, Err(Reason::HostInvalid)),
            (Version::HTTP_2, true, Err(Reason::HostInvalid)),
        ] {
            let found = none(version, any).map_err(|refusal| refusal.reason);
            let name = found.as_ref().map(|host| &*host.name).map_err(|why| *why);
            assert_eq!(name, expected, "{version:?} {any}");
        }
        let empty = host_of("/", &[""]);
        assert_eq!(empty, Err(Reason::HostInvalid), "an empty name is none");
    }

    /// The result for one request is never used for another spelling.
    #[test]
    fn the_last_host_is_asked_for_by_the_very_words() {
        let last = LastHost::default();
        let ask = |uri: &str, host: Option<&str>| {
            let mut request = http::Request::builder().uri(uri);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            last.of(&parts.into(), false)
                .map(|host| host.value.to_str().unwrap().to_owned())
                .map_err(|refusal| refusal.reason)
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
