//! An answer in the bytes of HTTP/1.1.

use std::io::Write;

use http::{HeaderName, StatusCode, header};

use super::date::DateText;
use crate::proxy::codec::field_list::FieldList;
use crate::proxy::codec::fields;
use crate::proxy::codec::output::COPIED_MAX;

/// The framing of an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body, with any fields in the head.
    None,
    Length(u64),
    Chunked,
    /// By the end of the connection, which is all that HTTP/1.0 has.
    UntilClose,
}

/// The parts of an answer's head.
#[derive(Clone, Copy, Debug)]
pub struct AnswerHead<'a> {
    pub status: StatusCode,
    pub fields: &'a FieldList,
    pub framing: Framing,
    /// True if no other request may follow.
    pub close: bool,
    /// The `Date` of an answer that has none.
    pub date: DateText,
}

/// Appends an answer's head.
pub fn put_head(out: &mut Vec<u8>, head: &AnswerHead<'_>) {
    let (status, framing) = (head.status, head.framing);
    // Head and body are one write where the body is small, so both are allocated at once.
    let body = match framing {
        Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
        _ => 0,
    };
    out.reserve(HEAD_USUAL + body.min(COPIED_MAX / 2));
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let switched = status == StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in head.fields.iter() {
        if switched || !is_framing(name, framing) {
            fields::put(out, name.as_str(), value);
        }
    }
    if !head.fields.contains(&header::DATE) {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(&head.date);
        out.extend_from_slice(b"\r\n");
    }
    match framing {
        // A write to a vector cannot fail.
        Framing::Length(length) => _ = write!(out, "content-length: {length}\r\n"),
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::UntilClose => {}
    }
    if head.close && !switched {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// True for fields about this connection, which we write ourselves. An answer without a body keeps the length that the
/// body would have (RFC 9110, 9.3.2).
fn is_framing(name: &HeaderName, framing: Framing) -> bool {
    match *name {
        header::CONTENT_LENGTH => framing != Framing::None,
        header::TRANSFER_ENCODING | header::CONNECTION | header::UPGRADE => true,
        _ => name.as_str() == "keep-alive",
    }
}

/// The length that most heads stay below, so that writing one allocates once.
const HEAD_USUAL: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::messages::message::Response;

    fn text(status: u16, fields: &[(&str, &str)], framing: Framing, close: bool) -> String {
        let mut response = http::Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let response = Response::from(response.body(()).unwrap());
        let mut out = Vec::new();
        let head = AnswerHead {
            status: response.status,
            fields: &response.fields,
            framing,
            close,
            date: *b"Thu, 01 Jan 1970 00:00:00 GMT",
        };
        put_head(&mut out, &head);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_is_written_with_framing_of_our_own() {
        let fields = [
            ("a", "b"),
            ("content-length", "7"),
            ("connection", "x"),
            ("transfer-encoding", "y"),
            ("keep-alive", "z"),
            ("date", "now"),
        ];
        let start = "HTTP/1.1 200 OK\r\na: b\r\ndate: now\r\n";
        assert_eq!(
            text(200, &fields, Framing::Length(5), false),
            format!("{start}content-length: 5\r\n\r\n")
        );
        assert_eq!(
            text(200, &fields, Framing::Chunked, false),
            format!("{start}transfer-encoding: chunked\r\n\r\n")
        );
        assert_eq!(
            text(200, &fields, Framing::UntilClose, true),
            format!("{start}connection: close\r\n\r\n")
        );
    }

    #[test]
    fn an_answer_without_a_body_says_how_long_it_would_be() {
        assert_eq!(
            text(
                304,
                &[("content-length", "7"), ("date", "now")],
                Framing::None,
                false
            ),
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\ndate: now\r\n\r\n"
        );
    }

    #[test]
    fn a_switch_of_protocols_keeps_what_agrees_to_it() {
        let agreed = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("date", "now"),
        ];
        assert_eq!(
            text(101, &agreed, Framing::None, true),
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\ndate: now\r\n\r\n"
        );
    }

    #[test]
    fn every_answer_has_a_date_and_an_unknown_status_no_words() {
        assert_eq!(
            text(299, &[], Framing::Length(0), false),
            "HTTP/1.1 299 \r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 0\r\n\r\n"
        );
    }
}
