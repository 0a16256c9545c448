//! The head of an HTTP/1.1 answer: parsed within its bounds, cleaned of hop-by-hop fields, and its body's length known.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::keep_alive;
use crate::domain::cause::Cause;
use crate::domain::upstream::AnswerBounds;
use crate::proxy::codec::field_list::FieldList;
use crate::proxy::codec::fields;
use crate::proxy::codec::head_end::HeadEnd;
use crate::proxy::codec::malformed::Malformed;
use crate::proxy::messages::message::Response;

/// The parts of the request that decide the parsing of its answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// HEAD, whose answer has no body, with any fields in its head.
    pub head_only: bool,
    pub upgrade: Option<&'a HeaderValue>,
    pub bounds: AnswerBounds,
}

/// The length of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    Length(u64),
    Chunked,
    UntilClose,
}

/// A final answer's head.
#[derive(Debug)]
pub struct AnswerHead {
    pub head: Response<()>,
    pub framing: BodyLength,
    /// True if the connection can carry another exchange.
    pub keep_alive: bool,
    /// The keep-alive time that the upstream announces, if any.
    pub kept_for: Option<Duration>,
    /// True for the 101 that was requested; a tunnel follows.
    pub switched: bool,
}

/// A head from the front of the buffer.
#[derive(Debug)]
pub enum Parsed {
    /// 100, 102, 103 and the like; the final answer follows.
    Interim {
        /// Its size in bytes.
        bytes: usize,
        /// The fields of a 103 that the caller may have.
        hints: Option<FieldList>,
    },
    Final(AnswerHead),
}

/// An answer that cannot be parsed, or only in several ways.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer cannot be read")]
pub struct BadAnswer {
    pub cause: Cause,
    #[source]
    pub malformed: Malformed,
}

impl BadAnswer {
    pub const fn new(cause: Cause, words: &'static str) -> Self {
        Self {
            cause,
            malformed: Malformed(words),
        }
    }
}

/// A head that the codec finds malformed has a malformed field.
impl From<Malformed> for BadAnswer {
    fn from(malformed: Malformed) -> Self {
        Self {
            cause: Cause::AnswerFieldInvalid,
            malformed,
        }
    }
}

/// A parser of heads in a buffer that fills.
#[derive(Debug, Default)]
pub struct AnswerParser {
    end: HeadEnd,
}

impl AnswerParser {
    /// Takes a head out of `buffer`; `None` when more bytes are needed.
    pub fn take(
        &mut self,
        buffer: &mut BytesMut,
        asked: Expected<'_>,
    ) -> Result<Option<Parsed>, BadAnswer> {
        if buffer.is_empty() {
            return Ok(None);
        }
        // The parser would skip empty lines, which are the rest of another answer.
        if !buffer.starts_with(b"H") {
            let words = "the answer does not begin with HTTP";
            return Err(BadAnswer::new(Cause::AnswerNotHttp, words));
        }
        let bytes_max = asked.bounds.header_bytes_max;
        match self.end.find(buffer)? {
            Some(length) if length <= bytes_max => {
                self.end = HeadEnd::default();
                read(&buffer.split_to(length).freeze(), asked).map(Some)
            }
            None if buffer.len() < bytes_max => Ok(None),
            _ => {
                let words = "the head is larger than http.header_bytes_max";
                Err(BadAnswer::new(Cause::AnswerHeadTooLarge, words))
            }
        }
    }
}

/// Parses a whole head, whose fields share its bytes.
fn read(head: &Bytes, asked: Expected<'_>) -> Result<Parsed, BadAnswer> {
    let fields_max = asked.bounds.headers_max;
    let mut few = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
    let room = few.get_mut(..fields_max.min(FIELDS_USUAL));
    match read_into(head, asked, room.unwrap_or_default()) {
        Err(bad) if bad.cause == Cause::AnswerFieldsTooMany && fields_max > FIELDS_USUAL => {
            let mut many = vec![MaybeUninit::uninit(); fields_max];
            read_into(head, asked, &mut many)
        }
        read => read,
    }
}

/// The same with room for so many fields.
fn read_into<'h>(
    head: &'h Bytes,
    asked: Expected<'_>,
    lines: &mut [MaybeUninit<httparse::Header<'h>>],
) -> Result<Parsed, BadAnswer> {
    let mut response = httparse::Response::new(&mut []);
    let parsed = parser().parse_response_with_uninit_headers(&mut response, head, lines);
    match parsed {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => {
            let words = "the head has more fields than http.headers_max";
            return Err(BadAnswer::new(Cause::AnswerFieldsTooMany, words));
        }
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => {
            return Err(Malformed("a line is not a field").into());
        }
        _ => return Err(BadAnswer::new(Cause::AnswerNotHttp, "the head is not HTTP")),
    }
    let is_1_1 = response.version == Some(1);
    let status = response
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(BadAnswer::new(
            Cause::AnswerNotHttp,
            "the status is not one",
        ))?;
    let mut found = Found::default();
    let mut kept = FieldList::with_capacity(response.headers.len() + FIELDS_OURS);
    for line in response.headers {
        let (name, value) = fields::field(head, line)?;
        found.note(&name, &value)?;
        if !fields::is_hop_by_hop(&name)
            && !fields::is_reserved(&name)
            && name != header::CONTENT_LENGTH
        {
            kept.append(name, value);
        }
    }
    found.judge(status, is_1_1, kept, asked, head.len())
}

/// The parser's settings. Blanks between a name and its colon are removed (RFC 9112, 5.1), before any decision by the
/// name. Lines that are folded, or begin with a blank, are refused.
fn parser() -> httparse::ParserConfig {
    let mut config = httparse::ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true);
    config
}

/// The fields that matter to us.
#[derive(Default)]
struct Found {
    length: Option<(u64, HeaderValue)>,
    chunked: bool,
    close: bool,
    kept_for: Option<Duration>,
    upgrade: Option<HeaderValue>,
    /// Fields that `Connection` names.
    nominated: Vec<HeaderName>,
}

impl Found {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), BadAnswer> {
        match name.as_str() {
            "content-length" => {
                let length = fields::read_length(value.as_bytes());
                let length = length.map_err(|malformed| BadAnswer {
                    cause: Cause::AnswerLengthInvalid,
                    malformed,
                })?;
                if self
                    .length
                    .as_ref()
                    .is_some_and(|(known, _)| *known != length)
                {
                    let words = "there are two lengths";
                    return Err(BadAnswer::new(Cause::AnswerLengthsDiffer, words));
                }
                self.length = Some((length, value.clone()));
            }
            "transfer-encoding" => {
                if self.chunked || value.as_bytes().contains(&b',') {
                    let words = "there are two transfer codings";
                    return Err(BadAnswer::new(Cause::AnswerTwoTransferEncodings, words));
                }
                if !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                    let words = "the transfer coding is not chunked";
                    return Err(BadAnswer::new(Cause::AnswerTransferEncodingUnknown, words));
                }
                self.chunked = true;
            }
            "connection" => {
                for token in value.as_bytes().split(|byte| *byte == b',') {
                    let token = token.trim_ascii();
                    if token.eq_ignore_ascii_case(b"close") {
                        self.close = true;
                    } else if let Ok(name) = HeaderName::from_bytes(token) {
                        self.nominated.push(name);
                    }
                    if self.nominated.len() > NOMINATED_MAX {
                        return Err(Malformed("Connection names too many fields").into());
                    }
                }
            }
            "keep-alive" => self.kept_for = keep_alive::announced(value).or(self.kept_for),
            "upgrade" if self.upgrade.is_some() => {
                return Err(Malformed("there are two Upgrade fields").into());
            }
            "upgrade" => self.upgrade = Some(value.clone()),
            _ => {}
        }
        Ok(())
    }

    fn judge(
        self,
        status: StatusCode,
        is_1_1: bool,
        mut fields: FieldList,
        asked: Expected<'_>,
        bytes: usize,
    ) -> Result<Parsed, BadAnswer> {
        if self.chunked && self.length.is_some() {
            let words = "there are a length and a transfer coding";
            return Err(BadAnswer::new(Cause::AnswerLengthAndChunked, words));
        }
        if self.chunked && !is_1_1 {
            let words = "HTTP/1.0 has no transfer codings";
            return Err(BadAnswer::new(Cause::AnswerTransferEncodingUnknown, words));
        }
        for name in &self.nominated {
            fields.remove(name);
        }
        let switched = status == StatusCode::SWITCHING_PROTOCOLS;
        if status.is_informational() && !switched {
            let hints = (status == StatusCode::EARLY_HINTS).then_some(fields);
            return Ok(Parsed::Interim { bytes, hints });
        }
        if switched {
            self.check_switch(asked)?;
            fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            if let Some(protocol) = self.upgrade.clone() {
                fields.insert(header::UPGRADE, protocol);
            }
        }
        let bodiless = asked.head_only
            || switched
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = match (&self.length, self.chunked) {
            _ if bodiless => BodyLength::Length(0),
            (Some((length, _)), _) => BodyLength::Length(*length),
            (None, true) => BodyLength::Chunked,
            (None, false) => BodyLength::UntilClose,
        };
        // A 204 that announces a body may be followed by one, which would be the next answer.
        let odd = status == StatusCode::NO_CONTENT
            && (self.chunked || self.length.as_ref().is_some_and(|(length, _)| *length > 0));
        let keep_alive = is_1_1 && !self.close && !odd && framing != BodyLength::UntilClose;
        if let Some((_, value)) = self.length
            && status != StatusCode::NO_CONTENT
        {
            fields.append(header::CONTENT_LENGTH, value);
        }
        Ok(Parsed::Final(AnswerHead {
            head: Response {
                status,
                fields,
                body: (),
            },
            framing,
            keep_alive: keep_alive && self.kept_for != Some(Duration::ZERO),
            kept_for: self.kept_for,
            switched,
        }))
    }

    fn check_switch(&self, asked: Expected<'_>) -> Result<(), BadAnswer> {
        let agreed = match (&self.upgrade, asked.upgrade) {
            (Some(answer), Some(asked)) => answer.as_bytes().eq_ignore_ascii_case(asked.as_bytes()),
            _ => false,
        };
        if !agreed {
            let words = "the upstream switches to a protocol that was not asked for";
            return Err(BadAnswer::new(Cause::AnswerSwitchUnasked, words));
        }
        if self.chunked || self.length.as_ref().is_some_and(|(length, _)| *length > 0) {
            return Err(Malformed("a switch of protocols has a body").into());
        }
        Ok(())
    }
}

/// The number of fields that most heads stay below; their places are on the stack.
const FIELDS_USUAL: usize = 128;
const NOMINATED_MAX: usize = 32;
/// The request's id and the standing of its limits, which the answer gets later.
const FIELDS_OURS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str, asked: Expected<'_>) -> Result<Option<Parsed>, BadAnswer> {
        let mut buffer = BytesMut::from(text);
        AnswerParser::default().take(&mut buffer, asked)
    }

    fn head(text: &str) -> AnswerHead {
        match parse(text, Expected::default()) {
            Ok(Some(Parsed::Final(head))) => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn the_length_of_a_body_is_known_from_its_head() {
        let check = |fields: &str, framing: BodyLength, keep_alive: bool| {
            let head = head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
            assert_eq!(
                (head.framing, head.keep_alive),
                (framing, keep_alive),
                "{fields:?}"
            );
        };
        check("Content-Length: 5\r\n", BodyLength::Length(5), true);
        check("content-length: 0\r\n", BodyLength::Length(0), true);
        check(
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            BodyLength::Length(5),
            true,
        );
        check("Transfer-Encoding: chunked\r\n", BodyLength::Chunked, true);
        check("Transfer-Encoding: Chunked\r\n", BodyLength::Chunked, true);
        check("", BodyLength::UntilClose, false);
        check(
            "Content-Length: 5\r\nConnection: close\r\n",
            BodyLength::Length(5),
            false,
        );
        check(
            "Content-Length: 5\r\nConnection: x, Close\r\n",
            BodyLength::Length(5),
            false,
        );
        let old = head("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(
            (old.framing, old.keep_alive),
            (BodyLength::Length(5), false)
        );
    }

    #[test]
    fn answers_without_a_body_have_none_whatever_they_say() {
        let asked = Expected {
            head_only: true,
            ..Expected::default()
        };
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
        let Ok(Some(Parsed::Final(answer))) = parse(text, asked) else {
            panic!()
        };
        assert_eq!(
            (answer.framing, answer.keep_alive),
            (BodyLength::Length(0), true)
        );
        assert_eq!(
            answer.head.fields["content-length"], "500",
            "the client may want to know"
        );
        let not_modified = head("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n");
        assert_eq!(
            (not_modified.framing, not_modified.keep_alive),
            (BodyLength::Length(0), true)
        );
        let empty = head("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(
            (empty.framing, empty.keep_alive),
            (BodyLength::Length(0), true)
        );
        assert!(!empty.head.fields.contains(&header::CONTENT_LENGTH));
        let odd = head("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(
            (odd.framing, odd.keep_alive),
            (BodyLength::Length(0), false)
        );
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let many = "a: b\r\n".repeat(513);
        let large = format!("a: {}\r\n", "b".repeat(132_000));
        let tokens = format!("Connection: {}\r\n", "a,".repeat(40));
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: \r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length\t : 5\r\n",
            "Transfer-Encoding : gzip\r\n",
            "Content-Length : 5\r\nContent-Length: 6\r\n",
            "Content-Length : 5\r\nContent-Length : 6\r\n",
            "Content-Length :: 5\r\n",
            "Content-Length \r\n: 5\r\n",
            "Content- Length : 5\r\n",
            "\tContent-Length : 5\r\n",
            "a : b\r\n folded : c\r\n",
            "a: b\r\n folded\r\n",
            " a: b\r\n",
            ": b\r\n",
            "no colon\r\n",
            "a b: c\r\n",
            "a: b\0c\r\n",
            "a: b\rc\r\n",
            "a: b\nc: d\r\n",
            "Upgrade: a\r\nUpgrade: b\r\n",
            &many,
            &large,
            &tokens,
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            let result = parse(&text, Expected::default());
            assert!(result.is_err(), "{fields:.60?}: {result:?}");
        }
        for text in [
            "HTTP/1.1 200 OK\n\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 No\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "<html>",
        ] {
            let result = parse(text, Expected::default());
            assert!(result.is_err(), "{text:?}: {result:?}");
        }
    }

    #[test]
    fn a_switch_of_protocols_must_have_been_asked_for() {
        let websocket = HeaderValue::from_static("websocket");
        let asked = Expected {
            upgrade: Some(&websocket),
            ..Expected::default()
        };
        let text =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
        let Ok(Some(Parsed::Final(answer))) = parse(text, asked) else {
            panic!()
        };
        assert!(answer.switched);
        assert_eq!(answer.head.fields["upgrade"], "WebSocket");
        assert!(parse(text, Expected::default()).is_err(), "unasked");
        assert!(
            parse(&text.replace("WebSocket", "h2c"), asked).is_err(),
            "another"
        );
        assert!(
            parse("HTTP/1.1 101 Switching\r\n\r\n", asked).is_err(),
            "none"
        );
        assert!(
            parse(
                &text.replace("Connection", "Content-Length: 3\r\nConnection"),
                asked
            )
            .is_err()
        );
    }

    #[test]
    fn what_concerns_one_connection_stays_there() {
        let answer = head(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive, X-Private, content-type\r\n\
            Keep-Alive: timeout=5\r\nX-Private: 1\r\nContent-Type: a/b\r\nUpgrade: h2c\r\n\
            Proxy-Authenticate: Basic\r\nX-Countersign-App-Id: forged\r\nX-Public: \r\nTrailer: x\r\n\r\n",
        );
        let mut names: Vec<_> = answer.head.fields.names().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "trailer", "x-public"]);
    }

    #[test]
    fn blanks_before_a_colon_are_taken_away_and_change_nothing_else() {
        let check = |fields: &str, framing: BodyLength| {
            let head = head(&format!("HTTP/1.1 200 OK\r\nX-A : 1\r\n{fields}\r\n"));
            assert_eq!(head.framing, framing, "{fields:?}");
            assert_eq!(head.head.fields["x-a"], "1");
        };
        check("Content-Length : 5\r\n", BodyLength::Length(5));
        check(
            "Content-Length \t : 5\r\nContent-Length: 5\r\n",
            BodyLength::Length(5),
        );
        check("Transfer-Encoding : chunked\r\n", BodyLength::Chunked);
        let private = "Connection : x-b\r\nX-B : 1\r\nX-Countersign-App-Id : forged\r\n";
        let answer = head(&format!(
            "HTTP/1.1 200 OK\r\nKeep-Alive : timeout=5\r\n{private}\r\n"
        ));
        assert!(answer.head.fields.is_empty(), "{:?}", answer.head.fields);
    }

    #[test]
    fn heads_are_read_up_to_the_bounds_of_their_upstream() {
        let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        let asked = |header_bytes_max, headers_max| Expected {
            bounds: AnswerBounds {
                header_bytes_max,
                headers_max,
            },
            ..Expected::default()
        };
        let cause = |text: &str, asked| parse(text, asked).err().map(|bad| bad.cause);
        for count in [100, 128, 129, 300] {
            let text = fields(count);
            assert_eq!(cause(&text, asked(text.len(), count)), None, "{count}");
            let few = Some(Cause::AnswerFieldsTooMany);
            assert_eq!(cause(&text, asked(text.len(), count - 1)), few, "{count}");
            let small = Some(Cause::AnswerHeadTooLarge);
            assert_eq!(cause(&text, asked(text.len() - 1, count)), small, "{count}");
        }
        let large = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(70 << 10));
        assert_eq!(cause(&large, Expected::default()), None);
    }

    #[test]
    fn each_fault_has_its_cause() {
        for (fields, cause) in [
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                Cause::AnswerLengthAndChunked,
            ),
            (
                "Content-Length: 5\r\nContent-Length : 6\r\n",
                Cause::AnswerLengthsDiffer,
            ),
            ("Content-Length: x\r\n", Cause::AnswerLengthInvalid),
            ("Content-Length: 5, 5\r\n", Cause::AnswerLengthInvalid),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Cause::AnswerTwoTransferEncodings,
            ),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                Cause::AnswerTwoTransferEncodings,
            ),
            (
                "Transfer-Encoding: gzip\r\n",
                Cause::AnswerTransferEncodingUnknown,
            ),
            ("a b: c\r\n", Cause::AnswerFieldInvalid),
            ("a: b\r\n folded\r\n", Cause::AnswerFieldInvalid),
        ] {
            let found = parse(
                &format!("HTTP/1.1 200 OK\r\n{fields}\r\n"),
                Expected::default(),
            );
            assert_eq!(found.unwrap_err().cause, cause, "{fields:?}");
        }
        for (text, cause) in [
            ("SSH-2.0-x\r\n\r\n", Cause::AnswerNotHttp),
            ("HTTP/2.0 200 OK\r\n\r\n", Cause::AnswerNotHttp),
            ("HTTP/1.1 101 Switching\r\n\r\n", Cause::AnswerSwitchUnasked),
        ] {
            let found = parse(text, Expected::default());
            assert_eq!(found.unwrap_err().cause, cause, "{text:?}");
        }
    }

    #[test]
    fn interim_answers_are_told_apart() {
        for status in ["100 Continue", "103 Early Hints", "199 Odd"] {
            let text = format!("HTTP/1.1 {status}\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
            let mut buffer = BytesMut::from(text.as_str());
            let parsed = AnswerParser::default().take(&mut buffer, Expected::default());
            let Ok(Some(Parsed::Interim { bytes, hints })) = parsed else {
                panic!("{parsed:?}");
            };
            assert_eq!(bytes, status.len() + 9 + 2 + 9 + 2);
            let hints = hints.map(|fields| fields.len());
            assert_eq!(hints, status.starts_with("103").then_some(1));
            assert!(buffer.starts_with(b"HTTP/1.1 200"));
        }
    }

    proptest! {
        #[test]
        fn a_head_in_pieces_is_the_same_head(
            text in "HTTP/1\\.1 [1-5][0-9][0-9] OK\r\n(([a-zA-Z-]{1,8}|Content-Length|Connection|Transfer-Encoding): ([0-9]{1,3}|chunked|x|close)(\r\n|\n|\r\n |\r)){0,4}\r\n",
        ) {
            let describe = |parsed: Parsed| match parsed {
                Parsed::Interim { bytes, hints } => format!("{bytes} {hints:?}"),
                Parsed::Final(head) => format!("{:?} {:?} {}", head.head, head.framing, head.keep_alive),
            };
            let whole = parse(&text, Expected::default()).map(|parsed| parsed.map(describe));
            let (mut parser, mut buffer) = (AnswerParser::default(), BytesMut::new());
            let mut pieces = Ok(None);
            for byte in text.bytes() {
                buffer.extend_from_slice(&[byte]);
                pieces = parser.take(&mut buffer, Expected::default()).map(|parsed| parsed.map(describe));
                if !matches!(pieces, Ok(None)) {
                    break;
                }
            }
            // A fault may be seen at another of its symptoms, or only once the end has come.
            match (whole, pieces) {
                (Err(_), Err(_) | Ok(None)) | (Ok(None), Err(_)) => {}
                (whole, pieces) => prop_assert_eq!(whole, pieces),
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut buffer = BytesMut::from(&b"HTTP/1.1 200 OK\r\n"[..]);
            buffer.extend_from_slice(&bytes);
            buffer.extend_from_slice(b"\r\n\r\n");
            let _ = AnswerParser::default().take(&mut buffer, Expected::default());
        }
    }
}
