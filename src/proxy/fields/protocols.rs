//! Upgrades: the other protocol that a request asks for in place of HTTP.

use data_encoding::BASE64;
use http::{HeaderName, HeaderValue, Method, Version, header};

use crate::domain::reason::Reason;
use crate::domain::upgrades::Upgrades;

use crate::proxy::codec::field_list::FieldList;
use crate::proxy::messages::message::Request;
use crate::proxy::messages::offence::Offence;
use crate::proxy::messages::refusal::Refusal;

const WEBSOCKET: &str = "websocket";

/// The method for routing. A `WebSocket` is opened by `CONNECT` under HTTP/2 (RFC 8441) and by `GET` under HTTP/1.1;
/// routes name it as `GET`.
pub fn routed_method(request: &Request) -> Result<Method, Reason> {
    if request.method != Method::CONNECT {
        return Ok(request.method.clone());
    }
    // A plain CONNECT asks for a proxy to anywhere, which this is not.
    match extended(request) {
        Some(_) => Ok(Method::GET),
        None => Err(Reason::RequestMalformed),
    }
}

/// The requested protocol, if the route names it.
///
/// An upgrade is an offer that a server may ignore (RFC 9110, 7.8): protocols that the route does not name, `h2c` among
/// them, are not forwarded, and the request is served as it is. A `WebSocket` that cannot be opened is refused with the
/// cause.
pub fn upgrade(
    request: &Request,
    allowed: &Upgrades,
    has_body: bool,
) -> Result<Option<HeaderValue>, Refusal> {
    if let Some(protocol) = extended(request) {
        return extended_connect(request, protocol, allowed).map(Some);
    }
    let Some(asked) = asked_by_fields(request) else {
        return Ok(None);
    };
    let named = allowed.name(asked.as_bytes());
    if asked.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()) {
        if !named {
            return Err(refused("This route opens no WebSocket", asked.as_bytes()));
        }
        whole_handshake(request)?;
    }
    if !named {
        return Ok(None);
    }
    // Bytes that follow before the upstream has agreed belong to neither protocol.
    if has_body {
        return Err(refused(
            "A request with a body asks for another protocol",
            asked.as_bytes(),
        ));
    }
    Ok(Some(asked.clone()))
}

/// The upgrade of a `CONNECT` with `:protocol` (RFC 8441), which could be served as nothing else.
fn extended_connect(
    request: &Request,
    protocol: &str,
    allowed: &Upgrades,
) -> Result<HeaderValue, Refusal> {
    if !allowed.name(protocol.as_bytes()) {
        return Err(refused(
            "This route does not open the protocol",
            protocol.as_bytes(),
        ));
    }
    if protocol.eq_ignore_ascii_case(WEBSOCKET) {
        right_version(&request.fields)?;
    }
    HeaderValue::from_str(protocol)
        .ok()
        .ok_or_else(|| refused("The protocol has no name", b""))
}

/// Checks the fields of a `WebSocket` handshake under HTTP/1.1 (RFC 6455, 4.2.1). Without all of them an upstream does
/// not take it for a handshake, and the client's next bytes would be read as requests.
fn whole_handshake(request: &Request) -> Result<(), Refusal> {
    if request.method != Method::GET {
        let method = request.method.as_str().as_bytes();
        return Err(refused("A WebSocket is opened by GET", method));
    }
    right_version(&request.fields)?;
    let key = one(&request.fields, &header::SEC_WEBSOCKET_KEY);
    let length = key
        .and_then(|key| BASE64.decode(key).ok())
        .map(|key| key.len());
    if length != Some(16) {
        let says = "A WebSocket needs one Sec-WebSocket-Key of 16 bytes in base64";
        return Err(refused(says, key.unwrap_or_default()));
    }
    Ok(())
}

fn right_version(fields: &FieldList) -> Result<(), Refusal> {
    match one(fields, &header::SEC_WEBSOCKET_VERSION) {
        Some(b"13") => Ok(()),
        other => {
            let says = "A WebSocket needs Sec-WebSocket-Version: 13";
            Err(refused(says, other.unwrap_or_default()))
        }
    }
}

fn one<'f>(fields: &'f FieldList, name: &HeaderName) -> Option<&'f [u8]> {
    let value = fields.one(name).ok()?;
    value.map(HeaderValue::as_bytes)
}

fn refused(says: &'static str, sent: &[u8]) -> Refusal {
    Refusal::naming(
        Reason::UpgradeRefused,
        Offence::new("upgrade", says, None, sent),
    )
}

fn extended(request: &Request) -> Option<&str> {
    request
        .protocol
        .as_ref()
        .filter(|_| request.method == Method::CONNECT)
        .map(h2::ext::Protocol::as_str)
}

/// The one protocol in the `Upgrade` fields. `None` for several: a client that offers a choice can do without.
fn asked_by_fields(request: &Request) -> Option<&HeaderValue> {
    let asked = request.fields.one(&header::UPGRADE).ok()??;
    // Without `Connection: upgrade`, and before HTTP/1.1, the field means nothing (RFC 9110, 7.8).
    let meant = request.version == Version::HTTP_11
        && request
            .fields
            .get_all(&header::CONNECTION)
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    Some(asked).filter(|_| meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");
    const UPGRADE: (&str, &str) = ("connection", "keep-alive, Upgrade");

    fn asking(method: &str, fields: &[(&str, &str)]) -> Request {
        let mut request = http::Request::builder().method(method).uri("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0.into()
    }

    /// The upgrade to the requested protocol, or its refusal.
    fn opened(
        method: &str,
        fields: &[(&str, &str)],
        allowed: &[&str],
        has_body: bool,
    ) -> Result<Option<String>, &'static str> {
        let allowed: Upgrades = allowed.iter().map(|name| name.parse().unwrap()).collect();
        let opened = upgrade(&asking(method, fields), &allowed, has_body);
        let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
        opened.map(|value| value.map(text)).map_err(|refusal| {
            assert_eq!(refusal.reason, Reason::UpgradeRefused);
            match refusal.extra {
                crate::proxy::messages::refusal::Extra::Offence(offence) => offence.says,
                _ => "",
            }
        })
    }

    #[test]
    fn a_whole_handshake_opens_a_websocket_where_a_route_names_it() {
        for name in ["websocket", "WebSocket"] {
            let fields = [UPGRADE, ("upgrade", name), KEY, VERSION];
            let found = opened("GET", &fields, &["websocket"], false);
            assert_eq!(found, Ok(Some(name.to_owned())));
            let says = opened("GET", &fields, &["other"], false).unwrap_err();
            assert!(says.contains("opens no WebSocket"), "{says}");
        }
    }

    #[test]
    fn a_handshake_that_is_not_whole_is_refused_with_what_is_missing() {
        let socket = ("upgrade", "websocket");
        let check = |method: &str, fields: &[(&str, &str)], has_body, missing: &str| {
            let fields = [&[UPGRADE, socket][..], fields].concat();
            let says = opened(method, &fields, &["websocket"], has_body).unwrap_err();
            assert!(says.contains(missing), "{fields:?}: {says}");
        };
        check("POST", &[KEY, VERSION], false, "GET");
        check("GET", &[VERSION], false, "Sec-WebSocket-Key");
        check(
            "GET",
            &[("sec-websocket-key", "c2hvcnQ="), VERSION],
            false,
            "16 bytes",
        );
        check(
            "GET",
            &[("sec-websocket-key", "not base64"), VERSION],
            false,
            "16 bytes",
        );
        check("GET", &[KEY, KEY, VERSION], false, "one Sec-WebSocket-Key");
        check("GET", &[KEY], false, "Version: 13");
        check(
            "GET",
            &[KEY, ("sec-websocket-version", "8")],
            false,
            "Version: 13",
        );
        check("GET", &[KEY, VERSION, VERSION], false, "Version: 13");
        check("GET", &[KEY, VERSION], true, "body");
    }

    #[test]
    fn what_is_not_named_is_passed_over() {
        for protocol in [
            "h2c",
            "H2C",
            "h2c/1",
            "h2",
            "TLS/1.0",
            "TLS/1.2, HTTP/1.1",
            "websocket, h2c",
            "h2c, websocket",
            "foo",
            "",
        ] {
            let fields = [UPGRADE, ("upgrade", protocol), KEY, VERSION];
            for has_body in [false, true] {
                let found = opened("POST", &fields, &["websocket", "mine/2"], has_body);
                assert_eq!(found, Ok(None), "{protocol}");
            }
        }
        let twice = [
            UPGRADE,
            ("upgrade", "websocket"),
            ("upgrade", "h2c"),
            KEY,
            VERSION,
        ];
        assert_eq!(opened("GET", &twice, &["websocket"], false), Ok(None));
        let alone = [("upgrade", "websocket"), KEY, VERSION];
        assert_eq!(opened("GET", &alone, &["websocket"], false), Ok(None));
    }

    #[test]
    fn another_protocol_is_opened_by_its_name_only() {
        let mine = [UPGRADE, ("upgrade", "Mine/2")];
        let found = opened("POST", &mine, &["mine/2"], false);
        assert_eq!(found, Ok(Some("Mine/2".to_owned())));
        assert_eq!(
            opened("POST", &mine, &["mine/1", "websocket"], false),
            Ok(None)
        );
        assert!(
            opened("POST", &mine, &["mine/2"], true)
                .unwrap_err()
                .contains("body")
        );
    }

    #[test]
    fn a_plain_connect_is_not_served() {
        let (parts, ()) = http::Request::builder()
            .method("CONNECT")
            .uri("example.com:443")
            .body(())
            .unwrap()
            .into_parts();
        assert_eq!(routed_method(&parts.into()), Err(Reason::RequestMalformed));
    }

    #[test]
    fn an_extended_connect_opens_what_a_route_names_and_nothing_else() {
        let check = |protocol: &'static str, version: &[(&str, &str)], allowed: &[&str]| {
            let allowed: Upgrades = allowed.iter().map(|name| name.parse().unwrap()).collect();
            let mut request = asking("CONNECT", version);
            request.protocol = Some(h2::ext::Protocol::from_static(protocol));
            upgrade(&request, &allowed, false).is_ok()
        };
        assert!(check("websocket", &[VERSION], &["websocket"]));
        assert!(!check("websocket", &[VERSION], &[]));
        assert!(!check("websocket", &[], &["websocket"]));
        assert!(!check(
            "websocket",
            &[("sec-websocket-version", "8")],
            &["websocket"]
        ));
        assert!(!check("connect-udp", &[], &["websocket"]));
        assert!(check("connect-udp", &[], &["connect-udp"]));
    }
}
