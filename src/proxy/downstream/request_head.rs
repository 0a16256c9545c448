//! The head of an HTTP/1.1 request: parsed strictly, and its body's length known.
//!
//! httparse finds the lines. Syntax that it takes and other parsers may read in another way is refused here: a bare LF,
//! two lengths, a length beside a transfer coding, a coding that is not just `chunked`.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Uri, Version, header};

use crate::domain::reason::Reason;
use crate::proxy::codec::chunked::Chunked;
use crate::proxy::codec::coding::Coding;
use crate::proxy::codec::field_list::FieldList;
use crate::proxy::codec::fields;
use crate::proxy::codec::head_end::HeadEnd;
use crate::proxy::codec::malformed::Malformed;
use crate::proxy::messages::message::Request;
use crate::proxy::messages::target::OddTarget;

/// Limits on the size of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadBounds {
    /// Bytes, from the method to the empty line.
    pub bytes_max: usize,
    /// Header fields.
    pub fields_max: usize,
}

/// A request's head, and the facts in it about the rest.
#[derive(Debug)]
pub struct RequestHead {
    /// Boxed: it is passed on several times.
    pub request: Box<Request>,
    pub coding: Coding,
    /// True for `Expect: 100-continue` (RFC 9110, 10.1.1).
    pub expects_continue: bool,
    /// True if the client reads trailers (RFC 9110, 6.5.1).
    pub takes_trailers: bool,
    /// True if the connection can carry another request.
    pub keep_alive: bool,
}

/// A parser of heads in a buffer that fills.
#[derive(Debug, Default)]
pub struct RequestParser {
    end: HeadEnd,
    /// True if an empty line before this head was skipped.
    passed_over: bool,
}

impl RequestParser {
    /// Takes a head out of `buffer`; `None` when more bytes are needed.
    pub fn take(
        &mut self,
        buffer: &mut BytesMut,
        bounds: HeadBounds,
    ) -> Result<Option<RequestHead>, Reason> {
        if !self.begins(buffer)? {
            return Ok(None);
        }
        let is_new = self.end.is_new();
        match self.end.find(buffer).map_err(malformed)? {
            Some(length) if length <= bounds.bytes_max => {
                *self = Self::default();
                read(&cut(buffer, length), bounds).map(Some)
            }
            Some(_) => Err(Reason::HeadersTooLarge),
            None if buffer.len() >= bounds.bytes_max => Err(too_large(buffer)),
            None if is_new => refuse_nonsense(buffer, bounds).map(|()| None),
            None => Ok(None),
        }
    }

    /// True if a head has begun, behind the empty line that may stand before one.
    fn begins(&mut self, buffer: &mut BytesMut) -> Result<bool, Reason> {
        // Some old clients end a body with an extra CRLF; one is accepted (RFC 9112, 2.2).
        if !self.passed_over && buffer.starts_with(b"\r\n") {
            buffer.advance(2);
            self.passed_over = true;
        }
        // The parser would skip all empty lines, and further ones are the rest of another message.
        match **buffer {
            [] => Ok(false),
            [b'\r'] if !self.passed_over => Ok(false),
            [b'\r' | b'\n', ..] => Err(Reason::RequestMalformed),
            _ => Ok(true),
        }
    }
}

/// Takes `length` bytes off `buffer`; most requests are the whole of it, which is not copied.
fn cut(buffer: &mut BytesMut, length: usize) -> Bytes {
    if length == buffer.len() {
        std::mem::take(buffer).freeze()
    } else {
        buffer.split_to(length).freeze()
    }
}

/// The reason of the refusal of a head without an end.
fn too_large(buffer: &[u8]) -> Reason {
    if buffer.contains(&b'\n') {
        Reason::HeadersTooLarge
    } else {
        Reason::UriTooLong
    }
}

/// Refuses another protocol at once, and not when the time for a head is over.
fn refuse_nonsense(beginning: &[u8], bounds: HeadBounds) -> Result<(), Reason> {
    with_lines(bounds, |lines| {
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(beginning, lines) {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    })
}

/// Parses a whole head, whose fields share its bytes.
fn read(head: &Bytes, bounds: HeadBounds) -> Result<RequestHead, Reason> {
    with_lines(bounds, |lines| {
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(head, lines) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(Reason::RequestMalformed),
            Err(error) => return Err(refused(error)),
        }
        let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes());
        let target = parsed.path.unwrap_or_default().as_bytes();
        let (uri, odd_target) = uri(head, target)?;
        let mut found = Found::default();
        let mut list = FieldList::with_capacity(parsed.headers.len() + FIELDS_OURS);
        for line in parsed.headers {
            let (name, value) = fields::field(head, line).map_err(malformed)?;
            found.note(&name, &value)?;
            list.append(name, value);
        }
        found.judge(Box::new(Request {
            method: method.ok().ok_or(Reason::RequestMalformed)?,
            uri,
            odd_target,
            version: match parsed.version {
                Some(1) => Version::HTTP_11,
                _ => Version::HTTP_10,
            },
            fields: list,
            protocol: None,
            hints: None,
        }))
    })
}

/// Calls `parse` with memory for the most lines that there may be.
fn with_lines<'h, T>(
    bounds: HeadBounds,
    parse: impl FnOnce(&mut [MaybeUninit<httparse::Header<'h>>]) -> T,
) -> T {
    let mut few = [const { MaybeUninit::uninit() }; FIELDS_FEW];
    if let Some(lines) = few.get_mut(..bounds.fields_max) {
        return parse(lines);
    }
    let mut many = Vec::new();
    many.resize(bounds.fields_max, MaybeUninit::uninit());
    parse(&mut many)
}

fn refused(error: httparse::Error) -> Reason {
    match error {
        httparse::Error::TooManyHeaders => Reason::HeadersTooLarge,
        _ => Reason::RequestMalformed,
    }
}

/// The target: a path, an absolute URI, or a form for a method that is not served here. A target that the library would
/// not take, or would change, is kept beside the URI.
fn uri(head: &Bytes, target: &[u8]) -> Result<(Uri, Option<Box<OddTarget>>), Reason> {
    // The library would cut a fragment off, and an upstream may not.
    if !target.contains(&b'#')
        && !lacks_path(target)
        && let Ok(uri) = Uri::from_maybe_shared(head.slice_ref(target))
    {
        return Ok((uri, None));
    }
    let start = origin_form(target).ok_or(Reason::RequestMalformed)?;
    let (before, rest) = target
        .split_at_checked(start)
        .ok_or(Reason::RequestMalformed)?;
    let odd = OddTarget::new(head.slice_ref(rest)).ok_or(Reason::RequestMalformed)?;
    let before = if before.is_empty() { &b"/"[..] } else { before };
    let uri = Uri::try_from(before).ok().ok_or(Reason::RequestMalformed)?;
    Ok((uri, Some(Box::new(odd))))
}

/// True for an absolute URI whose query follows its authority at once. The library would forward it without a path, and
/// a reader that looks for a path alone takes the query for a part of the host.
fn lacks_path(target: &[u8]) -> bool {
    !target.starts_with(b"/")
        && memchr::memmem::find(target, b"://")
            .and_then(|scheme| target.get(scheme + 3..))
            .is_some_and(|rest| {
                memchr::memchr2(b'/', b'?', rest).is_some_and(|end| rest.get(end) == Some(&b'?'))
            })
}

/// The index of the path: the first byte, or behind scheme and authority.
fn origin_form(target: &[u8]) -> Option<usize> {
    if target.starts_with(b"/") {
        return Some(0);
    }
    let authority = memchr::memmem::find(target, b"://")? + 3;
    let rest = target.get(authority..)?;
    // The authority ends at the first of these (RFC 3986, 3.2). The library would cut off what follows another one, and
    // read another host than a reader that does not.
    let end = memchr::memchr3(b'/', b'?', b'#', rest)?;
    (rest.get(end) == Some(&b'/')).then_some(authority + end)
}

/// The fields that matter to the connection.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word that the head says or does not"
)]
#[derive(Debug, Default)]
struct Found {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    expects_continue: bool,
    takes_trailers: bool,
}

impl Found {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Reason> {
        if *name == header::CONTENT_LENGTH {
            let length = fields::read_length(value.as_bytes()).map_err(malformed)?;
            if self.length.replace(length).is_some() {
                return Err(Reason::RequestMalformed);
            }
        } else if *name == header::TRANSFER_ENCODING {
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Reason::RequestMalformed);
            }
            self.chunked = true;
        } else if *name == header::CONNECTION {
            self.close |= lists(value, b"close");
        } else if *name == header::EXPECT {
            self.expects_continue |= value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        } else if *name == header::TE {
            self.takes_trailers |= lists(value, b"trailers");
        }
        Ok(())
    }

    fn judge(self, request: Box<Request>) -> Result<RequestHead, Reason> {
        let is_1_1 = request.version == Version::HTTP_11;
        // HTTP/1.0 has no transfer codings, and with a length besides the message is ambiguous.
        if self.chunked && (self.length.is_some() || !is_1_1) {
            return Err(Reason::RequestMalformed);
        }
        let coding = if self.chunked {
            Coding::Chunked(Chunked::default())
        } else {
            Coding::Length(self.length.unwrap_or(0))
        };
        Ok(RequestHead {
            expects_continue: self.expects_continue
                && is_1_1
                && !matches!(coding, Coding::Length(0)),
            takes_trailers: self.takes_trailers && is_1_1,
            keep_alive: is_1_1 && !self.close,
            coding,
            request,
        })
    }
}

fn lists(value: &HeaderValue, token: &[u8]) -> bool {
    let mut tokens = value.as_bytes().split(|byte| *byte == b',');
    tokens.any(|listed| listed.trim_ascii().eq_ignore_ascii_case(token))
}

fn malformed(_: Malformed) -> Reason {
    Reason::RequestMalformed
}

/// Room for fields that are added to a request later: a map that grows hashes all of them again.
const FIELDS_OURS: usize = 3;
/// Fields whose places are kept on the stack; a higher limit needs memory of its own. The default limit and the margin
/// that the plane adds to it are below.
const FIELDS_FEW: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: HeadBounds = HeadBounds {
        bytes_max: 4096,
        fields_max: 20,
    };

    fn parse(text: &str) -> Result<Option<RequestHead>, Reason> {
        RequestParser::default().take(&mut BytesMut::from(text), BOUNDS)
    }

    fn head(text: &str) -> RequestHead {
        match parse(text) {
            Ok(Some(head)) => head,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_head_is_read_and_what_follows_is_left() {
        let mut buffer =
            BytesMut::from("GET /a?b=c HTTP/1.1\r\nHost: x\r\nA: b c \r\n\r\nGET /next");
        let head = RequestParser::default()
            .take(&mut buffer, BOUNDS)
            .unwrap()
            .unwrap();
        assert_eq!(head.request.method, Method::GET);
        assert_eq!(head.request.uri, "/a?b=c");
        assert_eq!(head.request.version, Version::HTTP_11);
        assert_eq!(head.request.fields["a"], "b c");
        assert!(head.keep_alive && !head.expects_continue && !head.takes_trailers);
        assert_eq!(buffer, "GET /next");
    }

    #[test]
    fn the_length_of_a_body_is_known_from_the_head() {
        let check = |fields: &str, length: Option<u64>| {
            let head = head(&format!("POST / HTTP/1.1\r\n{fields}\r\n"));
            let found = match head.coding {
                Coding::Length(length) => Some(length),
                Coding::Chunked(_) => None,
                Coding::UntilClose => panic!("{fields:?}"),
            };
            assert_eq!(found, length, "{fields:?}");
        };
        check("", Some(0));
        check("Content-Length: 0\r\n", Some(0));
        check("content-length:5\r\n", Some(5));
        check("Transfer-Encoding: chunked\r\n", None);
        check("transfer-encoding: Chunked\r\n", None);
    }

    #[test]
    fn the_connection_goes_on_unless_somebody_ends_it() {
        let check = |version: &str, fields: &str, keep_alive: bool| {
            let head = head(&format!("GET / HTTP/{version}\r\n{fields}\r\n"));
            assert_eq!(head.keep_alive, keep_alive, "{version} {fields:?}");
        };
        check("1.1", "", true);
        check("1.1", "Connection: keep-alive, x\r\n", true);
        check("1.1", "Connection: x, Close\r\n", false);
        check("1.0", "", false);
        check("1.0", "Connection: keep-alive\r\n", false);
    }

    #[test]
    fn what_the_client_wants_to_hear_is_noted() {
        let post = |fields: &str| head(&format!("POST / HTTP/1.1\r\n{fields}\r\n"));
        assert!(post("Content-Length: 5\r\nExpect: 100-Continue\r\n").expects_continue);
        assert!(!post("Content-Length: 0\r\nExpect: 100-continue\r\n").expects_continue);
        assert!(!post("Content-Length: 5\r\nExpect: tea\r\n").expects_continue);
        assert!(post("TE: gzip, trailers\r\n").takes_trailers);
        assert!(!post("TE: gzip\r\n").takes_trailers);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "a: b\r\n folded\r\n",
            " a: b\r\n",
            ": b\r\n",
            "no colon\r\n",
            "a b: c\r\n",
            "a: b\0c\r\n",
            "a: b\rc\r\n",
            "a: b\nc: d\r\n",
        ] {
            let result = parse(&format!("POST / HTTP/1.1\r\n{fields}\r\n"));
            assert_eq!(result.err(), Some(Reason::RequestMalformed), "{fields:?}");
        }
        for text in [
            "GET / HTTP/1.1\n\n",
            "\n GET / HTTP/1.1\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / http/1.1\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            " GET / HTTP/1.1\r\n\r\n",
            "G\0T / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\u{16}\u{3}\u{1}\r\n\r\n",
        ] {
            let result = parse(text);
            assert_eq!(result.err(), Some(Reason::RequestMalformed), "{text:?}");
        }
    }

    #[test]
    fn a_target_is_kept_as_it_came() {
        for (target, path) in [
            ("/a?b=\"c\",<d>", "/a"),
            ("/a<b>`c", "/a<b>`c"),
            ("/a#b", "/a#b"),
            ("/?x=1#y", "/"),
            ("/a?b=\u{e4}", "/a"),
            ("/a?!$&'()*+,-./:;=?@[\\]^_`{|}~%41", "/a"),
        ] {
            let request = head(&format!("GET {target} HTTP/1.1\r\n\r\n")).request;
            assert_eq!(request.path(), path, "{target}");
            assert_eq!(request.target().unwrap().as_str(), target);
        }
        let absolute = head("GET https://a.test/x?\"y\" HTTP/1.1\r\n\r\n").request;
        assert_eq!(absolute.target().unwrap().as_str(), "/x?\"y\"");
        assert_eq!(absolute.uri.authority().unwrap(), "a.test");
        for bad in [
            "a\"b",
            "https://a\"b/",
            "https://a.test?\"",
            "\"",
            "#",
            // Another reader takes what follows for a part of the host.
            "https://a.test#b/x",
            "https://a.test#@b.test/x",
            "https://a.test#.b.test/x?\"",
            "https://a.test?b/\"x",
        ] {
            let refused = parse(&format!("GET {bad} HTTP/1.1\r\n\r\n"));
            assert_eq!(refused.err(), Some(Reason::RequestMalformed), "{bad}");
        }
    }

    #[test]
    fn one_empty_line_before_a_request_is_borne_however_it_comes() {
        let drops = |text: &str| {
            let (mut parser, mut buffer) = (RequestParser::default(), BytesMut::new());
            let mut taken = Ok(None);
            for byte in text.bytes() {
                buffer.extend_from_slice(&[byte]);
                taken = parser.take(&mut buffer, BOUNDS);
                if taken.is_err() {
                    break;
                }
            }
            taken.map(|head| head.unwrap().request.uri)
        };
        let request = "GET /a HTTP/1.1\r\n\r\n";
        let one = format!("\r\n{request}");
        assert_eq!(head(&one).request.uri, "/a");
        assert_eq!(drops(&one).unwrap(), "/a");
        for leftovers in ["\r\n\r\n", "\n", "\r\n\n", "\r\n\r", "\rG"] {
            let text = format!("{leftovers}{request}");
            assert_eq!(
                parse(&text).err(),
                Some(Reason::RequestMalformed),
                "{text:?}"
            );
            assert_eq!(
                drops(&text).err(),
                Some(Reason::RequestMalformed),
                "{text:?}"
            );
        }
    }

    #[test]
    fn each_head_may_have_one_empty_line_before_it() {
        let request = "\r\nGET /a HTTP/1.1\r\n\r\n";
        let (mut parser, mut buffer) = (
            RequestParser::default(),
            BytesMut::from(&*request.repeat(2)),
        );
        for _ in 0..2 {
            assert!(parser.take(&mut buffer, BOUNDS).unwrap().is_some());
        }
    }

    #[test]
    fn a_head_has_a_largest_size() {
        let long = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(5000));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(21));
        let target = format!("GET /{}", "a".repeat(5000));
        let endless = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(5000));
        for (text, reason) in [
            (long, Reason::HeadersTooLarge),
            (many, Reason::HeadersTooLarge),
            (target, Reason::UriTooLong),
            (endless, Reason::HeadersTooLarge),
        ] {
            assert_eq!(parse(&text).err(), Some(reason), "{text:.40}");
        }
        let most = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(20));
        assert_eq!(head(&most).request.fields.len(), 20);
    }

    #[test]
    fn more_fields_than_fit_on_the_stack_are_read_too() {
        let bounds = HeadBounds {
            bytes_max: 1 << 16,
            fields_max: 1000,
        };
        let text = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
        let parsed = RequestParser::default().take(&mut BytesMut::from(&*text), bounds);
        assert_eq!(parsed.unwrap().unwrap().request.fields.len(), 1000);
    }

    #[test]
    fn a_head_that_comes_in_drops_is_the_same() {
        let text = "POST /a HTTP/1.1\r\nContent-Length: 3\r\nHost: x\r\n\r\nabc";
        let (mut parser, mut buffer) = (RequestParser::default(), BytesMut::new());
        let mut heads = Vec::new();
        for byte in text.bytes() {
            buffer.extend_from_slice(&[byte]);
            heads.extend(parser.take(&mut buffer, BOUNDS).unwrap_or_default());
            if !heads.is_empty() {
                break;
            }
        }
        assert_eq!(heads.len(), 1);
        assert_eq!(heads[0].request.fields["host"], "x");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            input in proptest::collection::vec(any::<u8>(), 0..300),
            start in prop_oneof![Just(""), Just("GET / HTTP/1.1\r\n"), Just("POST /a HTTP/1.1\r\nA: ")],
        ) {
            let mut buffer = BytesMut::from(start);
            let mut parser = RequestParser::default();
            for part in input.chunks(9) {
                buffer.extend_from_slice(part);
                if parser.take(&mut buffer, BOUNDS).is_err() {
                    break;
                }
            }
        }

        #[test]
        fn every_split_of_the_bytes_gives_the_same_result(cut in 1_usize..60) {
            let text = "POST /a HTTP/1.1\r\nContent-Length: 3\r\nHost: x\r\n\r\n";
            let cut = cut.min(text.len() - 1);
            let (first, rest) = text.split_at(cut);
            let (mut parser, mut buffer) = (RequestParser::default(), BytesMut::from(first));
            prop_assert!(parser.take(&mut buffer, BOUNDS).unwrap().is_none());
            buffer.extend_from_slice(rest.as_bytes());
            prop_assert!(parser.take(&mut buffer, BOUNDS).unwrap().is_some());
        }
    }
}
