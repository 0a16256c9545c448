//! Header fields in either direction: the tests for hop-by-hop, reserved and trailer fields, and their parsing.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::malformed::Malformed;

/// True if a field is about one connection only (RFC 9110, 7.6.1), or about framing, which each side does for itself.
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

/// True if only the gateway may send this field, so that answers and trailers may not contain it.
pub fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-countersign-")
}

/// True if a field may be a trailer. Fields for framing, routing, authentication or the parsing of the message may not
/// (RFC 9110, 6.5.1): a server behind us might merge them into the header.
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

/// Refuses a bare LF, which the parser takes for the end of a line, and other parsers do not.
pub fn refuse_bare_lf(block: &[u8]) -> Result<(), Malformed> {
    let bare = memchr::memchr_iter(b'\n', block)
        .any(|at| at.checked_sub(1).and_then(|before| block.get(before)) != Some(&b'\r'));
    if bare {
        return Err(Malformed("a line ends with a bare LF"));
    }
    Ok(())
}

/// Removes trailers that may not come after a body.
pub fn keep_trailers(trailers: &mut HeaderMap) {
    let doomed: Vec<_> = trailers
        .keys()
        .filter(|name| !may_be_a_trailer(name))
        .cloned()
        .collect();
    for name in doomed {
        trailers.remove(name);
    }
}

/// Appends a field's line.
pub fn put(out: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The field of a line that was parsed out of `head`, whose bytes the value shares.
pub fn field(
    head: &Bytes,
    line: &httparse::Header<'_>,
) -> Result<(HeaderName, HeaderValue), Malformed> {
    Ok((name(line)?, value(head.slice_ref(line.value))?))
}

/// The number that `Content-Length` holds: digits and nothing else (RFC 9112, 6.3).
pub fn read_length(digits: &[u8]) -> Result<u64, Malformed> {
    // 19 digits cannot overflow; no valid length has more.
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed("the length is not a number"));
    }
    Ok(digits
        .iter()
        .fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_kept_but_never_those_that_frame_or_identify() {
        let mut trailers = HeaderMap::new();
        for name in [
            "grpc-status",
            "content-length",
            "transfer-encoding",
            "x-countersign-app-id",
            "set-cookie",
            "x-sum",
        ] {
            trailers.append(HeaderName::from_static(name), HeaderValue::from_static("0"));
        }
        keep_trailers(&mut trailers);
        let names: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["grpc-status", "x-sum"]);
    }

    #[test]
    fn a_length_is_digits_and_nothing_else() {
        assert_eq!(read_length(b"12"), Ok(12));
        for odd in [
            &b""[..],
            b"+1",
            b"-1",
            b"1, 1",
            b" 1",
            b"0x1",
            b"18446744073709551616",
        ] {
            assert!(read_length(odd).is_err(), "{odd:?}");
        }
    }
}
