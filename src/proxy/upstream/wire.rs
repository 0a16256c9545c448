//! A request in the bytes of HTTP/1.1.

use http::Method;

use super::request::Head;
use super::websocket;
use crate::proxy::codec::fields;

/// The framing of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// No body, which the method implies.
    None,
    Length(u64),
    Chunked,
}

/// Appends a request's head.
pub fn put_head(out: &mut Vec<u8>, head: &Head, framing: BodyFraming) {
    out.reserve(HEAD_USUAL + head.identity.wire.len());
    // An extended CONNECT (RFC 8441) is a GET here.
    let extended = head.method == Method::CONNECT;
    let method = if extended { &Method::GET } else { &head.method };
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields::put(out, "host", &head.host);
    for (name, value) in head.fields.iter() {
        let ours = matches!(name.as_str(), "host" | "content-length");
        if !ours && !fields::is_hop_by_hop(name) {
            fields::put(out, name.as_str(), value);
        }
    }
    // Cleaning has left at most `trailers`. Some upstreams send trailers only with it, and `TE` has to be named by
    // `Connection` (RFC 9110, 10.1.4).
    if head.fields.contains(&http::header::TE) && head.upgrade.is_none() {
        out.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    out.extend_from_slice(&head.identity.wire);
    if let Some(protocol) = &head.upgrade {
        out.extend_from_slice(b"connection: upgrade\r\n");
        fields::put(out, "upgrade", protocol);
        if extended {
            for (name, value) in websocket::fields_for_http1(head) {
                fields::put(out, name, &value);
            }
        }
    }
    match framing {
        BodyFraming::None => {}
        BodyFraming::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(length.to_string().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        BodyFraming::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// The length that most heads stay below, so that writing one allocates once.
const HEAD_USUAL: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::codec::field_list::FieldList;
    use crate::proxy::identity_headers::identity_fields::IdentityFields;
    use http::{HeaderName, HeaderValue};
    use std::rc::Rc;

    fn request(method: Method) -> Head {
        let app = HeaderName::from_static("x-countersign-app-id");
        let identity = IdentityFields::new(vec![(app, HeaderValue::from_static("app_1"))]);
        let mut list = FieldList::new();
        for (name, value) in [
            ("accept", "*/*"),
            ("connection", "x"),
            ("content-length", "7"),
            ("te", "x"),
            ("a", ""),
        ] {
            list.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        Head {
            method,
            target: http::uri::PathAndQuery::from_static("/a?b=c").into(),
            host: HeaderValue::from_static("api.example.com"),
            fields: list,
            identity: Rc::new(identity),
            upgrade: None,
            hints: None,
        }
    }

    fn text(head: &Head, framing: BodyFraming) -> String {
        let mut out = Vec::new();
        put_head(&mut out, head, framing);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_is_written_with_framing_of_our_own() {
        let start = "GET /a?b=c HTTP/1.1\r\nhost: api.example.com\r\naccept: */*\r\na: \r\nte: trailers\r\nconnection: te\r\nx-countersign-app-id: app_1\r\n";
        let get = request(Method::GET);
        assert_eq!(text(&get, BodyFraming::None), format!("{start}\r\n"));
        let length = text(&get, BodyFraming::Length(12));
        assert_eq!(length, format!("{start}content-length: 12\r\n\r\n"));
        let chunked = text(&get, BodyFraming::Chunked);
        assert_eq!(
            chunked,
            format!("{start}transfer-encoding: chunked\r\n\r\n")
        );
    }

    #[test]
    fn an_upgrade_is_asked_for_in_the_words_of_http_1() {
        let mut head = request(Method::GET);
        head.upgrade = Some(HeaderValue::from_static("websocket"));
        let asked = text(&head, BodyFraming::None);
        assert!(asked.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n"));
        assert!(
            !asked.contains("sec-websocket"),
            "an HTTP/1.1 client sends its own"
        );
        head.method = Method::CONNECT;
        let asked = text(&head, BodyFraming::None);
        assert!(asked.starts_with("GET /a?b=c HTTP/1.1\r\n"));
        assert!(asked.contains("\r\nsec-websocket-key: "));
        assert!(asked.contains("\r\nsec-websocket-version: 13\r\n"));
    }
}
