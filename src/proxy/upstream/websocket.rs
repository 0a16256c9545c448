//! WebSocket handshakes between protocols: HTTP/1.1 proves with a key that it was understood (RFC 6455, 4.2.2), HTTP/2
//! leaves the key out (RFC 8441, 5.1), and each side gets its own form.

use data_encoding::BASE64;
use http::{HeaderValue, Method, StatusCode, header};

use crate::crypto::hash::sha1;

use super::balance;
use super::request::Head;
use crate::proxy::messages::message::Response;

/// The fields that an extended CONNECT lacks when it becomes an HTTP/1.1 upgrade; none for other protocols.
///
/// The key only shows that the answer is to this request. It is no secret, and the answer comes on a connection of its
/// own, so numbers that differ are sufficient; for the same reason the answer to it is not checked.
pub fn fields_for_http1(head: &Head) -> Vec<(&'static str, HeaderValue)> {
    let is_websocket = head
        .upgrade
        .as_ref()
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let mut fields = Vec::new();
    if !is_websocket {
        return fields;
    }
    if !head.fields.contains(&header::SEC_WEBSOCKET_KEY) {
        let key = [balance::random(), balance::random()].map(u64::to_be_bytes);
        let key = BASE64.encode(key.as_flattened());
        if let Ok(key) = HeaderValue::from_str(&key) {
            fields.push(("sec-websocket-key", key));
        }
    }
    if !head.fields.contains(&header::SEC_WEBSOCKET_VERSION) {
        fields.push(("sec-websocket-version", HeaderValue::from_static("13")));
    }
    fields
}

/// Turns the head of an upstream that agreed into the one for the client.
pub fn agree(answer: &mut Response<()>, head: &Head) {
    if head.method == Method::CONNECT {
        answer.status = StatusCode::OK;
        for name in [
            header::CONNECTION,
            header::UPGRADE,
            header::SEC_WEBSOCKET_ACCEPT,
        ] {
            answer.fields.remove(&name);
        }
        return;
    }
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    answer.status = StatusCode::SWITCHING_PROTOCOLS;
    let fields = &mut answer.fields;
    fields.remove(&header::CONTENT_LENGTH);
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = &head.upgrade {
        fields.insert(header::UPGRADE, protocol.clone());
    }
    if let Some(accept) = head.fields.get(&header::SEC_WEBSOCKET_KEY).and_then(accept) {
        fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
}

fn accept(key: &HeaderValue) -> Option<HeaderValue> {
    let text = [key.as_bytes(), b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    // SHA-1 is part of the protocol; nothing depends on its strength.
    let digest = sha1(&text);
    HeaderValue::from_str(&BASE64.encode(digest.as_ref())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_accepted_as_the_protocol_says() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
