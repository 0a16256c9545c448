//! The head of an HTTP/1.1 request: one reading, however it arrives and whoever reads it.

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Method, Version};

use super::lines;
use crate::domain::reason::Reason;
use crate::proxy::codec::coding::Coding;
use crate::proxy::downstream::request_head::{HeadBounds, RequestHead, RequestParser};
use crate::proxy::messages::message::Request;

const BOUNDS: HeadBounds = HeadBounds {
    bytes_max: 4096,
    fields_max: 40,
};

/// What a head means.
#[derive(Debug, PartialEq)]
struct Meaning {
    method: Method,
    target: String,
    version: Version,
    fields: Vec<(HeaderName, HeaderValue)>,
    /// `None` is chunked.
    length: Option<u64>,
    flags: [bool; 3],
}

/// Reads `bytes` as a head and whatever follows it; true when there is one.
pub fn check(bytes: &[u8]) -> bool {
    let mut buffer = BytesMut::from(bytes);
    let whole = RequestParser::default().take(&mut buffer, BOUNDS);
    let (by_bytes, left) = read_byte_by_byte(bytes);
    let Ok(Some(head)) = whole else {
        assert!(!matches!(by_bytes, Ok(Some(_))), "accepted in pieces only");
        return false;
    };
    assert!(bytes.ends_with(&buffer), "what follows a head is left");
    let head_bytes = &bytes[..bytes.len() - buffer.len()];
    let meaning = meaning(&head);
    let Ok(Some(by_bytes)) = by_bytes else {
        panic!("accepted at once only: {by_bytes:?}");
    };
    assert_eq!(
        meaning,
        self::meaning(&by_bytes),
        "pieces change the meaning"
    );
    assert_eq!(left, buffer.len(), "pieces change the end");
    assert_one_reading(head_bytes, &meaning);
    assert_survives_writing(&meaning);
    true
}

/// The result for bytes that come one by one, and how many were not looked at.
fn read_byte_by_byte(bytes: &[u8]) -> (Result<Option<RequestHead>, Reason>, usize) {
    let (mut parser, mut buffer) = (RequestParser::default(), BytesMut::new());
    for (at, byte) in bytes.iter().enumerate() {
        buffer.extend_from_slice(&[*byte]);
        match parser.take(&mut buffer, BOUNDS) {
            Ok(None) => {}
            end => return (end, bytes.len() - at - 1),
        }
    }
    (Ok(None), 0)
}

fn meaning(head: &RequestHead) -> Meaning {
    let fields = head.request.fields.iter();
    Meaning {
        method: head.request.method.clone(),
        target: target(&head.request),
        version: head.request.version,
        fields: fields
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        length: match head.coding {
            Coding::Length(length) => Some(length),
            Coding::Chunked(_) => None,
            Coding::UntilClose => panic!("no request lasts until the connection ends"),
        },
        flags: [head.keep_alive, head.expects_continue, head.takes_trailers],
    }
}

/// The target as it came.
fn target(request: &Request) -> String {
    let Some(odd) = &request.odd_target else {
        return request.uri.to_string();
    };
    let authority = request.uri.authority().map(ToString::to_string);
    let scheme = request.uri.scheme_str().unwrap_or_default();
    let before = authority.map(|authority| format!("{scheme}://{authority}"));
    before.unwrap_or_default() + odd.as_str()
}

/// Whoever else reads the head finds the same lines and the same body.
fn assert_one_reading(head: &[u8], meaning: &Meaning) {
    lines::assert_crlf(head);
    assert!(head.ends_with(b"\r\n\r\n") && head.len() <= BOUNDS.bytes_max + 2);
    assert!(!head.contains(&0), "a NUL passes");
    let sent = meaning.target.as_bytes();
    let odd = meaning.target.contains(['#', '"', '<', '`']);
    let as_it_came = head.windows(sent.len()).any(|part| part == sent);
    assert!(!odd || as_it_came, "another target is read");
    let fields = lines::fields(head.strip_prefix(b"\r\n").unwrap_or(head));
    assert_eq!(fields.len(), meaning.fields.len(), "a line is lost");
    for ((name, value), (known, read)) in fields.iter().zip(&meaning.fields) {
        assert_eq!((&**name, &**value), (known.as_str(), read.as_bytes()));
    }
    let lengths = lines::count(&fields, "content-length");
    let codings = lines::count(&fields, "transfer-encoding");
    assert!(lengths + codings <= 1, "a body has two lengths");
    assert_eq!(codings == 1, meaning.length.is_none());
    assert!(lengths == 1 || meaning.length.is_none_or(|length| length == 0));
}

/// What was read, written again, is read as the same.
fn assert_survives_writing(meaning: &Meaning) {
    let mut text = format!(
        "{} {} {:?}\r\n",
        meaning.method, meaning.target, meaning.version
    )
    .into_bytes();
    for (name, value) in &meaning.fields {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    // Blanks that were left out before may stand between name and value now.
    let bounds = HeadBounds {
        bytes_max: 2 * BOUNDS.bytes_max,
        ..BOUNDS
    };
    match RequestParser::default().take(&mut BytesMut::from(&*text), bounds) {
        Ok(Some(again)) => assert_eq!(*meaning, self::meaning(&again)),
        other => panic!("{other:?}: {:?}", String::from_utf8_lossy(&text)),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_request_heads_keeps_its_properties() {
        super::super::corpus::holds("request_head", super::check);
    }
}
