//! Which header fields go from one connection to the next, in either direction, and how they are read.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::chunked::Malformed;

/// Whether a field is about one connection only (RFC 9110, 7.6.1), or about the framing that each side makes anew.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "expect"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether only the gateway says this, and so no answer and no trailer may.
pub fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-countersign-")
}

/// Whether a field may come after a body. Those that frame, route, authenticate or say how to read the message
/// may not (RFC 9110, 6.5.1): somebody behind us might merge them into the header.
pub fn may_be_a_trailer(name: &HeaderName) -> bool {
    let forbidden = matches!(
        name.as_str(),
        "age"
            | "authorization"
            | "cache-control"
            | "client-cert"
            | "client-cert-chain"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "cookie"
            | "date"
            | "expires"
            | "forwarded"
            | "host"
            | "location"
            | "max-forwards"
            | "pragma"
            | "range"
            | "remote-user"
            | "retry-after"
            | "set-cookie"
            | "trailer"
            | "traceparent"
            | "vary"
            | "www-authenticate"
            | "x-api-key"
            | "x-real-ip"
            | "x-request-id"
    );
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !forbidden
        && !is_hop_by_hop(name)
        && !is_reserved(name)
        && !name.as_str().starts_with("x-forwarded-")
        && name.as_str().bytes().all(plain)
}

/// The name of a parsed line.
pub fn name(line: &httparse::Header<'_>) -> Result<HeaderName, Malformed> {
    HeaderName::from_bytes(line.name.as_bytes())
        .ok()
        .ok_or(Malformed("a field name is not a token"))
}

/// A parsed value, which keeps sharing its bytes.
pub fn value(bytes: Bytes) -> Result<HeaderValue, Malformed> {
    HeaderValue::from_maybe_shared(bytes)
        .ok()
        .ok_or(Malformed("a field value holds a control character"))
}

/// The parser takes a bare LF for the end of a line, and not everybody does.
pub fn refuse_bare_lf(block: &[u8]) -> Result<(), Malformed> {
    let mut before = b'\n';
    for byte in block {
        if *byte == b'\n' && before != b'\r' {
            return Err(Malformed("a line ends with a bare LF"));
        }
        before = *byte;
    }
    Ok(())
}
