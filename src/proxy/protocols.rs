//! Which other protocol a request asks for in place of HTTP.

use http::{HeaderValue, Method, Version, header};

use crate::domain::reason::Reason;

use super::message::Request;

/// The method that a request's route is found by. A `WebSocket` is opened by `CONNECT` under HTTP/2 (RFC 8441)
/// and by `GET` under HTTP/1.1; routes name it as `GET`.
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

/// The protocol that is asked for, where the route allows one.
///
/// `h2c` is refused everywhere: it would open a way to the upstream on which nothing is looked at.
pub fn upgrade(
    request: &Request,
    allowed: bool,
    has_body: bool,
) -> Result<Option<HeaderValue>, Reason> {
    let asked = match extended(request) {
        Some(protocol) => HeaderValue::from_str(protocol)
            .map(Some)
            .ok()
            .ok_or(Reason::UpgradeRefused)?,
        None => asked_by_fields(request)?,
    };
    match &asked {
        None => Ok(None),
        // Bytes that follow before the upstream has agreed belong to neither protocol.
        Some(_) if !allowed || has_body => Err(Reason::UpgradeRefused),
        Some(value) if names_h2c(value) => Err(Reason::UpgradeRefused),
        Some(_) => Ok(asked),
    }
}

fn extended(request: &Request) -> Option<&str> {
    request
        .protocol
        .as_ref()
        .filter(|_| request.method == Method::CONNECT)
        .map(h2::ext::Protocol::as_str)
}

fn asked_by_fields(request: &Request) -> Result<Option<HeaderValue>, Reason> {
    let given = request.fields.one(&header::UPGRADE);
    let Some(value) = given.ok().ok_or(Reason::UpgradeRefused)? else {
        return Ok(None);
    };
    if names_h2c(value) {
        return Err(Reason::UpgradeRefused);
    }
    // Without `Connection: upgrade`, and before HTTP/1.1, the field means nothing (RFC 9110, 7.8).
    let meant = request.version == Version::HTTP_11
        && request
            .fields
            .get_all(&header::CONNECTION)
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    Ok(meant.then(|| value.clone()))
}

fn names_h2c(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|protocol| {
            let name = protocol.trim_ascii();
            let name = name.split(|byte| *byte == b'/').next().unwrap_or(name);
            name.eq_ignore_ascii_case(b"h2c") || name.eq_ignore_ascii_case(b"h2")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(fields: &[(&str, &str)]) -> Request {
        let mut request = http::Request::builder().uri("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0.into()
    }

    #[test]
    fn only_allowed_upgrades_pass_and_h2c_never() {
        let check =
            |fields: &[(&str, &str)], allowed: bool, expected: Result<Option<&str>, Reason>| {
                let asked = upgrade(&asking(fields), allowed, false);
                let expected = expected.map(|value| value.map(|text| text.parse().unwrap()));
                assert_eq!(asked, expected, "{fields:?}");
            };
        let refused = Err(Reason::UpgradeRefused);
        check(&[], true, Ok(None));
        let websocket = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ];
        check(&websocket, true, Ok(Some("websocket")));
        check(&websocket, false, refused);
        check(&[("upgrade", "websocket")], true, Ok(None));
        for protocol in ["h2c", "H2C", "websocket, h2c", "h2c/1", "h2"] {
            check(
                &[("connection", "upgrade"), ("upgrade", protocol)],
                true,
                refused,
            );
            check(&[("upgrade", protocol)], true, refused);
        }
        check(
            &[
                ("connection", "upgrade"),
                ("upgrade", "a"),
                ("upgrade", "b"),
            ],
            true,
            refused,
        );
        assert_eq!(
            upgrade(&asking(&websocket), true, true),
            Err(Reason::UpgradeRefused),
            "with a body"
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
}
