//! The request fields that may reach an upstream: none that asserts an identity, none that is hop-by-hop, and no name
//! that an upstream might read as another one.
//!
//! The order matters. Everything is removed first, the fields in `Connection` included; our own fields are set
//! afterwards by [`super::forwarding`], so that no caller can have one of them removed.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::domain::issuer::ToldNames;
use crate::domain::reason::Reason;

use super::own_credentials;
use crate::proxy::codec::field_list::FieldList;
use crate::proxy::messages::offence::Offence;

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Names that one `Connection` field may list. Honest clients list three or four.
pub const CONNECTION_OPTIONS_MAX: usize = 32;

macro_rules! families {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Identity headers of proxies, by family. Only the gateway sets them, so a caller's never pass.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Family {
            $($(#[$doc])* $name,)*
        }

        impl Family {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The family's name in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

families! {
    /// Amazon's load balancers and CDN.
    Amazon = "amazon",
    /// Fields in which upstreams get the claims of other issuers' tokens.
    Claim = "claim",
    /// `Client-Cert` and `Client-Cert-Chain` of RFC 9440, `X-Client-Cert…`, and Azure's `X-ARR-ClientCert`.
    ClientCert = "client_cert",
    /// Kong and other API gateways.
    Consumer = "consumer",
    /// Our own.
    Countersign = "countersign",
    /// `X-Forwarded-Client-Cert`, `X-Forwarded-Tls-Client-Cert`, and the fields of authenticating proxies.
    Forwarded = "forwarded",
    /// Service meshes and identity-aware proxies.
    Mesh = "mesh",
    /// `X-Real-Ip`, `X-Original-Url` and the like: the origin or target of a request.
    Origin = "origin",
    /// `Remote-User` and its kin.
    RemoteUser = "remote_user",
    /// `X-Ssl-…` and `Ssl-Client-…`, as other proxies name them.
    Ssl = "ssl",
}

/// The family of a field, with any character in place of a hyphen.
pub fn family(name: &str) -> Option<Family> {
    let beginnings = match *name.as_bytes() {
        [b'x' | b'X', hyphen, letter, ..] if !hyphen.is_ascii_alphanumeric() => {
            extensions(letter.to_ascii_lowercase())
        }
        [letter, ..] => others(letter.to_ascii_lowercase()),
        [] => &[],
    };
    if beginnings.is_empty() {
        return None;
    }
    let family = |name: &str| {
        let begins = |(beginning, _): &&(&str, Family)| name.starts_with(beginning);
        beginnings.iter().find(begins).map(|(_, family)| *family)
    };
    if is_plain(name) {
        family(name)
    } else {
        family(&folded(name))
    }
}

/// A name as upstreams see it that take all characters but letters and digits for the same.
pub fn folded(name: &str) -> String {
    let fold = |letter| match letter {
        'a'..='z' | '0'..='9' => letter,
        'A'..='Z' => letter.to_ascii_lowercase(),
        _ => '-',
    };
    name.chars().map(fold).collect()
}

/// Prefixes of families, by the first letter after `x-`: most names of a request match none of them.
const fn extensions(letter: u8) -> &'static [(&'static str, Family)] {
    use Family as F;
    match letter {
        b'a' => &[
            ("x-amzn-mtls", F::Amazon),
            ("x-amzn-oidc", F::Amazon),
            ("x-amzn-tls", F::Amazon),
            ("x-anonymous-consumer", F::Consumer),
            ("x-arr-clientcert", F::ClientCert),
            ("x-auth-request", F::Forwarded),
            ("x-authenticated", F::Consumer),
        ],
        b'c' => &[
            ("x-client-cert", F::ClientCert),
            ("x-client-dn", F::ClientCert),
            ("x-client-id", F::ClientCert),
            ("x-client-ip", F::Origin),
            ("x-client-verify", F::ClientCert),
            ("x-cluster-client-ip", F::Origin),
            ("x-consumer", F::Consumer),
            ("x-countersign", F::Countersign),
            ("x-credential", F::Consumer),
        ],
        b'e' => &[
            ("x-envoy-external-address", F::Origin),
            ("x-envoy-peer", F::Mesh),
        ],
        b'f' => &[
            ("x-forwarded-access-token", F::Forwarded),
            ("x-forwarded-client-cert", F::Forwarded),
            ("x-forwarded-email", F::Forwarded),
            ("x-forwarded-groups", F::Forwarded),
            ("x-forwarded-preferred-username", F::Forwarded),
            ("x-forwarded-tls-client", F::Forwarded),
            ("x-forwarded-user", F::Forwarded),
        ],
        b'g' => &[("x-goog-authenticated", F::Mesh), ("x-goog-iap", F::Mesh)],
        b'm' => &[("x-mtls", F::Ssl)],
        b'o' => &[("x-original-", F::Origin)],
        b'p' => &[("x-pomerium", F::Mesh)],
        b'r' => &[
            ("x-real-ip", F::Origin),
            ("x-remote-group", F::RemoteUser),
            ("x-remote-user", F::RemoteUser),
            ("x-rewrite-url", F::Origin),
        ],
        b's' => &[("x-spiffe", F::Mesh), ("x-ssl", F::Ssl)],
        b't' => &[("x-tls-client", F::Ssl)],
        b'u' => &[("x-user-id", F::RemoteUser)],
        b'w' => &[("x-webauth-user", F::RemoteUser)],
        _ => &[],
    }
}

/// Prefixes of families without `x-`, by their first letter.
const fn others(letter: u8) -> &'static [(&'static str, Family)] {
    use Family as F;
    match letter {
        b'c' => &[
            ("client-cert", F::ClientCert),
            ("cloudfront-viewer-", F::Amazon),
        ],
        b'f' => &[("fastly-client-ip", F::Origin)],
        b'l' => &[("l5d-client-id", F::Mesh)],
        b'r' => &[
            ("remote-addr", F::RemoteUser),
            ("remote-email", F::RemoteUser),
            ("remote-groups", F::RemoteUser),
            ("remote-name", F::RemoteUser),
            ("remote-user", F::RemoteUser),
        ],
        b's' => &[
            ("ssl-cipher", F::Ssl),
            ("ssl-client", F::Ssl),
            ("ssl-protocol", F::Ssl),
            ("ssl-session", F::Ssl),
        ],
        b't' => &[("true-client-ip", F::Origin)],
        _ => &[],
    }
}

/// True for a name of `a-z`, `0-9` and `-`; the HTTP library has lowered upper case already.
pub fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Refuses every transfer coding but the one that is decoded here: `chunked`, once. The HTTP library looks at the last
/// coding only, and a proxy before us may have looked at the first.
pub fn sound_framing(fields: &FieldList) -> Result<(), Reason> {
    match fields.one(&header::TRANSFER_ENCODING) {
        Ok(None) => Ok(()),
        Ok(Some(coding)) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Reason::RequestMalformed),
    }
}

/// The caller's own fields that a route keeps.
#[derive(Clone, Copy, Debug)]
pub struct Keep<'i> {
    pub credentials: Credentials<'i>,
    /// True if a trusted hop's fields about the request's origin are kept.
    pub forwarding: bool,
    /// The fields in which upstreams get claims, if there are any.
    pub told: Option<&'i ToldNames>,
}

/// The caller's credentials that reach the upstream.
#[derive(Clone, Copy, Debug)]
pub enum Credentials<'i> {
    All,
    /// Credentials for the upstream: neither ours by form nor verified here.
    Foreign {
        /// True if the route verifies a key or a token.
        looked_at: bool,
        /// The issuer of our access tokens; empty when none are issued.
        issuer: &'i str,
    },
}

impl Credentials<'_> {
    fn keep(self, name: &HeaderName, value: &HeaderValue) -> bool {
        let Self::Foreign { looked_at, issuer } = self else {
            return true;
        };
        match name.as_str() {
            "authorization" => {
                !(looked_at && is_verified(value) || own_credentials::is_ours(value, issuer))
            }
            // A proof beside a token that was verified here says nothing to the upstream.
            "dpop" => !looked_at,
            "x-api-key" => !looked_at && !own_credentials::is_ours(value, issuer),
            _ => true,
        }
    }
}

/// True for a value of the schemes `Bearer` and `DPoP`, which are verified here.
fn is_verified(value: &HeaderValue) -> bool {
    is_of_scheme(value, b"bearer") || is_of_scheme(value, b"dpop")
}

fn is_of_scheme(value: &HeaderValue, wanted: &[u8]) -> bool {
    match value.as_bytes().split_at_checked(wanted.len()) {
        Some((scheme, rest)) => {
            scheme.eq_ignore_ascii_case(wanted) && matches!(rest.first(), None | Some(b' '))
        }
        None => false,
    }
}

/// Removes everything that must not reach an upstream; returns the families that the caller tried to set.
pub fn clean(fields: &mut FieldList, keep: Keep<'_>) -> Result<Vec<Family>, Offence> {
    let named = named_by_connection(fields)?;
    let mut spoofed = Vec::new();
    let mut removed = false;
    fields.retain(|name, value| {
        let found = family(name.as_str()).or_else(|| claim(name.as_str(), keep.told));
        spoofed.extend(found);
        found.is_none()
            && !never_forwarded(name.as_str(), keep.forwarding)
            && !named.contains(name)
            && {
                let kept = keep.credentials.keep(name, value);
                removed |= !kept;
                kept
            }
    });
    // A proof belongs to its token, and leaves with it.
    if removed {
        fields.remove(&DPOP);
    }
    limit_te(fields);
    join_cookies(fields);
    Ok(spoofed)
}

/// True for a field that is for this hop, set by us, or verified by us as a credential.
pub fn is_ours(name: &str) -> bool {
    never_forwarded(name, false) || matches!(name, "authorization" | "x-api-key")
}

/// True for a field that upstreams do not get as its caller sent it. `Host` is not one: the request is routed by it.
pub fn is_replaced(name: &str, told: Option<&ToldNames>) -> bool {
    let of_this_hop = never_forwarded(name, false) || matches!(name, "dpop" | "te" | "x-api-key");
    (of_this_hop && name != "host") || family(name).or_else(|| claim(name, told)).is_some()
}

/// True for fields that are for this hop, or that we set ourselves.
fn never_forwarded(name: &str, keep_forwarding: bool) -> bool {
    match name {
        // RFC 9110, 7.6.1. The upstream connection sends `Host`; the gateway answers `Expect`.
        "connection" | "expect" | "host" | "http2-settings" | "keep-alive" | "proxy-authenticate"
        | "proxy-authorization" | "proxy-connection" | "transfer-encoding" | "upgrade"
        // CGI programs take it for a setting of theirs.
        | "proxy"
        | "x-request-id" => true,
        "forwarded" | "via" => !keep_forwarding,
        other => other.starts_with("x-forwarded-") && !keep_forwarding,
    }
}

/// The fields in `Connection`, which are not forwarded (RFC 9110, 7.6.1), except `te`, which is kept if it contains
/// `trailers`. A caller that lists a field which a request needs is refused.
fn named_by_connection(fields: &FieldList) -> Result<Vec<HeaderName>, Offence> {
    let refused = |says, sent: &[u8]| Err(Offence::new("connection", says, None, sent));
    let mut named = Vec::new();
    let mut count = 0;
    for value in fields.get_all(&header::CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            if option.is_empty() {
                continue;
            }
            count += 1;
            if count > CONNECTION_OPTIONS_MAX {
                return refused("Connection lists more than 32 names", b"");
            }
            let Ok(name) = HeaderName::try_from(option) else {
                return refused("Connection lists what is no field name", option);
            };
            if matches!(
                name.as_str(),
                "host" | "content-length" | "content-type" | "authorization" | "cookie"
            ) {
                return refused("Connection lists a field that the request needs", option);
            }
            if name != header::TE {
                named.push(name);
            }
        }
    }
    Ok(named)
}

/// Limits `TE`, which is for this hop, to `trailers`, which gRPC upstreams need.
fn limit_te(fields: &mut FieldList) {
    let Some(value) = fields.get(&header::TE) else {
        return;
    };
    let trailers = value.to_str().is_ok_and(|text| {
        text.split(',')
            .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
    });
    if trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    } else {
        fields.remove(&header::TE);
    }
}

/// Joins `Cookie` fields: HTTP/2 clients split them for compression; HTTP/1.1 upstreams get one (RFC 9113, 8.2.3).
fn join_cookies(fields: &mut FieldList) {
    let mut crumbs = fields.get_all(&header::COOKIE);
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return;
    };
    let mut whole = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(whole) = HeaderValue::from_bytes(&whole) {
        fields.insert(header::COOKIE, whole);
    }
}

/// The family of a field in which upstreams get a claim.
fn claim(name: &str, told: Option<&ToldNames>) -> Option<Family> {
    told.is_some_and(|told| told.has(name))
        .then_some(Family::Claim)
}

/// Removes trailers that could change the framing, routing or origin of a request (RFC 9110, 6.5.1).
pub fn clean_trailers(trailers: &mut HeaderMap, told: Option<&ToldNames>) -> Vec<Family> {
    let mut spoofed = Vec::new();
    let mut doomed: Vec<HeaderName> = Vec::new();
    for name in trailers.keys() {
        let found = family(name.as_str()).or_else(|| claim(name.as_str(), told));
        spoofed.extend(found);
        if found.is_some() || !is_plain(name.as_str()) || never_a_trailer(name) {
            doomed.push(name.clone());
        }
    }
    for name in doomed {
        trailers.remove(name);
    }
    spoofed
}

fn never_a_trailer(name: &HeaderName) -> bool {
    is_ours(name.as_str())
        || matches!(
            name.as_str(),
            "content-length"
                | "content-type"
                | "content-encoding"
                | "content-range"
                | "cookie"
                | "set-cookie"
                | "te"
                | "trailer"
                | "traceparent"
                | "tracestate"
                | "cache-control"
                | "max-forwards"
                | "range"
                | "if-match"
                | "if-none-match"
                | "if-modified-since"
                | "if-unmodified-since"
                | "if-range"
                | "www-authenticate"
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(fields: &[(&str, &str)]) -> FieldList {
        let mut headers = FieldList::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    const ISSUER: &str = "https://api.example.test";

    /// A route that verifies keys or tokens.
    const LOOKED_AT: Keep<'_> = Keep {
        credentials: Credentials::Foreign {
            looked_at: true,
            issuer: ISSUER,
        },
        forwarding: false,
        told: None,
    };

    /// A route that verifies certificates alone.
    const UNSEEN: Keep<'_> = Keep {
        credentials: Credentials::Foreign {
            looked_at: false,
            issuer: ISSUER,
        },
        forwarding: false,
        told: None,
    };

    /// A route that keeps credentials, behind a trusted hop.
    const EVERYTHING: Keep<'_> = Keep {
        credentials: Credentials::All,
        forwarding: true,
        told: None,
    };

    fn cleaned(fields: &[(&str, &str)], keep: Keep<'_>) -> Vec<String> {
        let mut headers = headers(fields);
        clean(&mut headers, keep).unwrap();
        headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn chunked_is_the_only_transfer_coding() {
        let check = |values: &[&str], expected: Result<(), Reason>| {
            let fields: Vec<_> = values
                .iter()
                .map(|value| ("transfer-encoding", *value))
                .collect();
            assert_eq!(sound_framing(&headers(&fields)), expected, "{values:?}");
        };
        check(&[], Ok(()));
        check(&["chunked"], Ok(()));
        check(&["Chunked"], Ok(()));
        for odd in [
            "",
            "identity",
            "gzip, chunked",
            "chunked, chunked",
            "chunked,",
            "xchunked",
        ] {
            check(&[odd], Err(Reason::RequestMalformed));
        }
        check(&["chunked", "chunked"], Err(Reason::RequestMalformed));
    }

    #[test]
    fn fields_that_assert_an_identity_are_known_in_every_spelling() {
        let check = |name: &str, expected: Option<Family>| {
            assert_eq!(family(name), expected, "{name}");
        };
        for name in [
            "x-countersign-app-id",
            "x_countersign_app_id",
            "x.countersign.app.id",
            "x-countersign_app-id",
            "x~countersign+app-id",
            "x-countersign",
            "X-Countersign-Assertion",
        ] {
            check(name, Some(Family::Countersign));
        }
        check("client-cert", Some(Family::ClientCert));
        check("client-cert-chain", Some(Family::ClientCert));
        check("client_cert", Some(Family::ClientCert));
        check("x-arr-clientcert", Some(Family::ClientCert));
        check("x-client-cert-subject-dn", Some(Family::ClientCert));
        check("x_client.cert-san", Some(Family::ClientCert));
        check("x-authenticated-userid", Some(Family::Consumer));
        check("x-forwarded-tls-client-cert", Some(Family::Forwarded));
        check("x-amzn-mtls-clientcert-serial-number", Some(Family::Amazon));
        check("x-ssl-client-v-start", Some(Family::Ssl));
        check("x-client-cert-serial", Some(Family::ClientCert));
        check("x_client_id", Some(Family::ClientCert));
        check("x-ssl-client-verify", Some(Family::Ssl));
        check("ssl-client-subject-dn", Some(Family::Ssl));
        check("ssl_client_cert", Some(Family::Ssl));
        check("x-forwarded-client-cert", Some(Family::Forwarded));
        check("x-forwarded-tls-client-cert-info", Some(Family::Forwarded));
        check("x-real-ip", Some(Family::Origin));
        check("x-original-url", Some(Family::Origin));
        check("x-consumer-custom-id", Some(Family::Consumer));
        check("x-credential-identifier", Some(Family::Consumer));
        check("x-amzn-mtls-clientcert-leaf", Some(Family::Amazon));
        check("remote-user", Some(Family::RemoteUser));
        check("remote_user", Some(Family::RemoteUser));
        check("l5d-client-id", Some(Family::Mesh));
        check("x-pomerium-jwt-assertion", Some(Family::Mesh));
        for name in [
            "x-request-id",
            "client-version",
            "x-client",
            "accept",
            "x-api-version",
        ] {
            check(name, None);
        }
    }

    #[test]
    fn every_family_is_taken_off_and_told() {
        for name in [
            "x-countersign-app-id",
            "client-cert",
            "x-ssl-client-s-dn",
            "x-forwarded-client-cert",
            "x-real-ip",
            "x-consumer-id",
            "x-amzn-mtls-clientcert",
            "remote-user",
            "l5d-client-id",
        ] {
            let mut headers = headers(&[(name, "forged"), (name, "twice"), ("accept", "*/*")]);
            let spoofed = clean(&mut headers, EVERYTHING);
            assert_eq!(spoofed, Ok(vec![family(name).unwrap(); 2]), "{name}");
            assert_eq!(headers.len(), 1, "{name}");
        }
    }

    #[test]
    fn what_is_for_this_hop_stays_on_it() {
        let left = cleaned(
            &[
                ("connection", "close, X-Mine"),
                ("x-mine", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("proxy-authorization", "Basic x"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "websocket"),
                ("http2-settings", "AAMAAABk"),
                ("expect", "100-continue"),
                ("host", "api.example.com"),
                ("te", "gzip, trailers"),
                ("accept", "*/*"),
            ],
            LOOKED_AT,
        );
        assert_eq!(left, ["te: trailers", "accept: */*"]);
    }

    #[test]
    fn connection_may_not_name_what_a_request_needs() {
        for named in [
            "host",
            "Content-Length",
            "authorization",
            "cookie",
            "x y",
            "a,\u{e9}",
        ] {
            let mut headers = headers(&[("connection", named)]);
            let refused = clean(&mut headers, LOOKED_AT).unwrap_err();
            assert_eq!(refused.rule, "connection", "{named}");
        }
        let many = vec!["x"; CONNECTION_OPTIONS_MAX + 1].join(",");
        let mut headers = headers(&[("connection", &many)]);
        assert!(clean(&mut headers, LOOKED_AT).is_err());
    }

    #[test]
    fn credentials_and_forwarding_pass_only_where_they_may() {
        let fields = [
            ("authorization", "Bearer x"),
            ("x-api-key", "x"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "http"),
        ];
        assert_eq!(cleaned(&fields, LOOKED_AT), Vec::<String>::new());
        let own = ["authorization: Bearer x", "x-api-key: x"];
        assert_eq!(cleaned(&fields, UNSEEN), own);
        assert_eq!(cleaned(&fields, EVERYTHING).len(), 5);
        let forwarding = Keep {
            forwarding: true,
            ..LOOKED_AT
        };
        assert_eq!(cleaned(&fields, forwarding).len(), 3);
    }

    #[test]
    fn what_is_ours_passes_nowhere_and_what_is_the_apis_everywhere() {
        for value in [
            "Bearer sk_live_1",
            "sk_test_1",
            "Basic a2V5XzE6c2tfbGl2ZV8x",
        ] {
            for name in ["authorization", "x-api-key"] {
                for keep in [LOOKED_AT, UNSEEN] {
                    assert_eq!(cleaned(&[(name, value)], keep), [""; 0], "{name}: {value}");
                }
                assert_eq!(cleaned(&[(name, value)], EVERYTHING).len(), 1);
            }
        }
        for keep in [LOOKED_AT, UNSEEN] {
            let basic = cleaned(&[("authorization", "Basic dXNlcjpwYXNz")], keep);
            assert_eq!(basic, ["authorization: Basic dXNlcjpwYXNz"]);
        }
    }

    #[test]
    fn crumbs_of_cookies_are_joined() {
        let left = cleaned(
            &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")],
            LOOKED_AT,
        );
        assert_eq!(left, ["cookie: a=1; b=2; c=3"]);
    }

    #[test]
    fn trailers_cannot_become_headers() {
        let mut trailers: HeaderMap = headers(&[
            ("grpc-status", "0"),
            ("x-countersign-app-id", "forged"),
            ("client-cert", ":Zm9yZ2Vk:"),
            ("x-ssl-client-verify", "SUCCESS"),
            ("x-forwarded-client-cert", "Hash=forged"),
            ("x-amzn-mtls-clientcert-leaf", "forged"),
            ("x-consumer-id", "forged"),
            ("x_odd", "1"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("host", "x"),
            ("authorization", "x"),
            ("connection", "close"),
            ("x-forwarded-for", "1.2.3.4"),
        ])
        .into();
        assert_eq!(
            clean_trailers(&mut trailers, None),
            [
                Family::Countersign,
                Family::ClientCert,
                Family::Ssl,
                Family::Forwarded,
                Family::Amazon,
                Family::Consumer,
            ]
        );
        let left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["grpc-status"]);
    }

    /// Names that callers try: known ones, their look-alikes, and any other.
    fn a_name() -> impl Strategy<Value = String> {
        let known = prop::sample::select(vec![
            "x-countersign-app-id",
            "client-cert",
            "x-ssl-client-verify",
            "x-forwarded-client-cert",
            "x-forwarded-for",
            "x-real-ip",
            "remote-user",
            "l5d-client-id",
            "x-consumer-id",
            "x-amzn-mtls-clientcert",
            "authorization",
            "x-api-key",
            "host",
            "upgrade",
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "http2-settings",
            "x-request-id",
            "accept",
            "cookie",
            "te",
        ]);
        prop_oneof![
            3 => known.prop_map(str::to_owned),
            1 => "[a-z][a-z0-9-]{0,20}",
            1 => "x-[a-z]{1,4}[-_.~][a-z]{1,8}",
        ]
    }

    fn some_fields() -> impl Strategy<Value = Vec<(String, String)>> {
        let value = prop_oneof![
            "[ -~]{0,20}",
            Just("trailers, deflate".to_owned()),
            Just("close".to_owned()),
        ];
        let field = (a_name(), value);
        let options = proptest::collection::vec(a_name(), 0..4).prop_map(|names| {
            let names: Vec<_> = names.iter().map(|name| name.to_uppercase()).collect();
            ("connection".to_owned(), names.join(" , "))
        });
        let options = proptest::collection::vec(options, 0..3);
        (proptest::collection::vec(field, 0..12), options)
            .prop_map(|(fields, options)| [fields, options].concat())
    }

    proptest! {
        /// Any character that an upstream may take for a hyphen leads to the same family.
        #[test]
        fn a_family_is_known_in_every_spelling(
            name in a_name(),
            letter in prop::sample::select(b"!#$%&'*+.^_`|~-".to_vec()),
        ) {
            let spelt = name.replace('-', &char::from(letter).to_string());
            prop_assert_eq!(family(&spelt), family(&name), "{}", spelt);
            prop_assert_eq!(family(&spelt.to_uppercase()), family(&name), "{}", spelt);
        }

        #[test]
        fn nothing_passes_that_only_we_say_or_that_is_for_this_hop(
            fields in some_fields(),
            credential in any::<bool>(),
            forwarding in any::<bool>(),
        ) {
            let borrowed: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            let before = headers(&borrowed);
            let mut left = before.clone();
            let credentials = if credential {
                Credentials::All
            } else {
                LOOKED_AT.credentials
            };
            let keep = Keep { credentials, forwarding, told: None };
            let Ok(spoofed) = clean(&mut left, keep) else {
                return Ok(());
            };
            for name in left.names() {
                prop_assert!(family(name.as_str()).is_none(), "{}", name);
                prop_assert!(!never_forwarded(name.as_str(), forwarding), "{}", name);
            }
            let tried = before.names().filter(|name| family(name.as_str()).is_some()).count();
            prop_assert_eq!(spoofed.len(), tried);
            // Fields in `Connection` stay on this hop, `te: trailers` apart.
            for named in before.get_all(&header::CONNECTION) {
                for option in named.to_str().unwrap().split(',').map(str::trim) {
                    let option = option.to_ascii_lowercase();
                    let there = option.parse().is_ok_and(|name| left.contains(&name));
                    prop_assert!(option == "te" || !there, "{}", option);
                }
            }
            if let Some(te) = left.get(&header::TE) {
                prop_assert_eq!(te, "trailers");
            }
            prop_assert!(left.get_all(&header::COOKIE).count() <= 1);
            // Nothing is changed that was allowed to stay, and cleaning again finds nothing.
            for (name, value) in left.iter() {
                let came = before.get_all(name).any(|given| given == value);
                prop_assert!(came || *name == header::COOKIE || *name == header::TE);
            }
            let mut again = left.clone();
            prop_assert_eq!(clean(&mut again, keep), Ok(Vec::new()));
            prop_assert_eq!(again, left);
        }

        #[test]
        fn no_trailer_frames_routes_or_identifies(fields in some_fields()) {
            let borrowed: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            let mut trailers = HeaderMap::from(headers(&borrowed));
            clean_trailers(&mut trailers, None);
            for name in trailers.keys() {
                prop_assert!(is_plain(name.as_str()) && family(name.as_str()).is_none());
                prop_assert!(!never_a_trailer(name), "{}", name);
            }
        }
    }
}
