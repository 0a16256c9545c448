//! The chunked coding of HTTP/1.1 (RFC 9112, 7.1), decoded without I/O.
//!
//! Every laxity in parsing chunks has been used to smuggle an answer or a request past another parser: bare LF, sizes
//! with signs or blanks, junk where CRLF belongs, unbounded extensions. Requests may have none of them. In answers,
//! blanks behind a size and before a trailer's colon are removed, as the RFC requires (5.1, 7.1.1): no other program
//! reads an answer in the gateway's place, and the caller's copy is encoded again.

use std::io::Write;

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::fields;
use super::malformed::Malformed;

/// The decoder of one body.
#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
    /// Bytes of extensions so far; they have no meaning, so few are accepted.
    extensions: usize,
    /// True if blanks are removed where an answer may have them.
    blanks: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

/// A piece of a decoded body.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// Data, never empty.
    Data(Bytes),
    /// The trailers, unchanged; the end follows.
    Trailers(HeaderMap),
    End,
}

impl Chunked {
    /// The decoder of an answer's body.
    pub fn of_an_answer() -> Self {
        Self {
            blanks: true,
            ..Self::default()
        }
    }

    /// Takes the next piece out of `buffer`; `None` when more bytes are needed. Bytes behind the end are left there.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, Malformed> {
        loop {
            match self.state {
                State::Size => {
                    let Some(line) = take_line(buffer)? else {
                        return Ok(None);
                    };
                    self.state = match self.size(&line)? {
                        0 => State::Trailers,
                        size => State::Data(size),
                    };
                }
                State::Data(left) => {
                    if buffer.is_empty() {
                        return Ok(None);
                    }
                    let length =
                        usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
                    let data = buffer.split_to(length).freeze();
                    let left = left - length as u64;
                    self.state = if left == 0 {
                        State::DataEnd
                    } else {
                        State::Data(left)
                    };
                    return Ok(Some(Piece::Data(data)));
                }
                State::DataEnd => {
                    let Some(end) = buffer.first_chunk::<2>() else {
                        return Ok(None);
                    };
                    if end != b"\r\n" {
                        return Err(Malformed("a chunk does not end where its size says"));
                    }
                    buffer.advance(2);
                    self.state = State::Size;
                }
                State::Trailers => {
                    let Some(trailers) = take_trailers(buffer, self.blanks)? else {
                        return Ok(None);
                    };
                    self.state = State::Done;
                    if !trailers.is_empty() {
                        return Ok(Some(Piece::Trailers(trailers)));
                    }
                }
                State::Done => return Ok(Some(Piece::End)),
            }
        }
    }

    fn size(&mut self, line: &[u8]) -> Result<u64, Malformed> {
        let end = line.iter().position(|byte| *byte == b';');
        let (mut digits, extension) = line.split_at(end.unwrap_or(line.len()));
        while let ([rest @ .., b' ' | b'\t'], true) = (digits, self.blanks) {
            digits = rest;
        }
        self.extensions += extension.len();
        if self.extensions > EXTENSIONS_MAX {
            return Err(Malformed("too many chunk extensions"));
        }
        let readable = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        if !extension.iter().all(readable) {
            return Err(Malformed("a chunk extension holds a control character"));
        }
        if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX {
            return Err(Malformed("a chunk size has no digits or too many"));
        }
        digits.iter().try_fold(0_u64, |size, digit| {
            let digit = char::from(*digit).to_digit(16);
            let digit = digit.ok_or(Malformed("a chunk size is not hexadecimal"))?;
            Ok(size << 4 | u64::from(digit))
        })
    }
}

/// Appends the beginning of a chunk; its bytes and CRLF follow.
pub fn put_size(out: &mut Vec<u8>, size: usize) {
    // A write to a vector cannot fail.
    _ = write!(out, "{size:x}\r\n");
}

/// Appends the end of a chunked body, with those trailers that may be sent.
pub fn put_end(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if fields::may_be_a_trailer(name) {
            fields::put(out, name.as_str(), value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// A line without its CRLF.
fn take_line(buffer: &mut BytesMut) -> Result<Option<BytesMut>, Malformed> {
    let Some(end) = buffer.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
        if buffer.len() >= LINE_MAX {
            return Err(Malformed("a chunk size line is too long"));
        }
        return Ok(None);
    };
    let mut line = buffer.split_to(end + 1);
    if !line.ends_with(b"\r\n") {
        return Err(Malformed("a chunk size line ends with a bare LF"));
    }
    line.truncate(end - 1);
    Ok(Some(line))
}

fn take_trailers(buffer: &mut BytesMut, blanks: bool) -> Result<Option<HeaderMap>, Malformed> {
    let Some(start) = buffer.first_chunk::<2>() else {
        return Ok(None);
    };
    if start == b"\r\n" {
        buffer.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let end = buffer
        .windows(4)
        .take(TRAILERS_MAX - 3)
        .position(|window| window == b"\r\n\r\n");
    let Some(end) = end else {
        if buffer.len() >= TRAILERS_MAX {
            return Err(Malformed("the trailers are too large"));
        }
        return Ok(None);
    };
    let mut block = buffer.split_to(end + 4).freeze();
    if blanks {
        block = without_blanks(&block);
    }
    let mut parsed = [httparse::EMPTY_HEADER; TRAILER_FIELDS_MAX];
    let lines = match httparse::parse_headers(&block, &mut parsed) {
        Ok(httparse::Status::Complete((length, lines))) if length == block.len() => lines,
        _ => return Err(Malformed("the trailers are not header fields")),
    };
    fields::refuse_bare_lf(&block)?;
    let mut trailers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let (name, value) = (
            fields::name(line)?,
            fields::value(Bytes::copy_from_slice(line.value))?,
        );
        trailers.append(name, value);
    }
    Ok(Some(trailers))
}

/// The same fields without blanks before their colons. A line that begins with a blank is not a field, and is left
/// unchanged.
fn without_blanks(block: &Bytes) -> Bytes {
    let mut clean = Vec::with_capacity(block.len());
    for line in block.split_inclusive(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, rest) = line.split_at(colon.unwrap_or(0));
        let trimmed = name.trim_ascii_end();
        let blank_only = name
            .get(trimmed.len()..)
            .is_some_and(|blanks| blanks.iter().all(|byte| matches!(byte, b' ' | b'\t')));
        clean.extend_from_slice(if blank_only { trimmed } else { name });
        clean.extend_from_slice(rest);
    }
    clean.into()
}

/// The digits of sizes below 2^60, so that no arithmetic overflows.
const SIZE_DIGITS_MAX: usize = 15;
const LINE_MAX: usize = 256;
const EXTENSIONS_MAX: usize = 4 << 10;
const TRAILERS_MAX: usize = 8 << 10;
const TRAILER_FIELDS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    #[derive(Debug, PartialEq)]
    enum Outcome {
        Complete {
            data: Vec<u8>,
            trailers: Vec<(String, String)>,
            rest: Vec<u8>,
        },
        Incomplete(Vec<u8>),
        Malformed(Vec<u8>, Malformed),
    }

    /// Feeds the parts one after the other.
    fn decode<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Outcome {
        decode_by(Chunked::default(), parts)
    }

    fn decode_by<'p>(mut decoder: Chunked, parts: impl IntoIterator<Item = &'p [u8]>) -> Outcome {
        let mut buffer = BytesMut::new();
        let (mut data, mut trailers, mut done) = (Vec::new(), Vec::new(), false);
        for part in parts {
            buffer.extend_from_slice(part);
            while !done {
                match decoder.next(&mut buffer) {
                    Ok(None) => break,
                    Ok(Some(Piece::Data(piece))) => {
                        assert!(!piece.is_empty());
                        data.extend_from_slice(&piece);
                    }
                    Ok(Some(Piece::Trailers(map))) => {
                        for (name, value) in &map {
                            let value = value.to_str().unwrap_or("?").to_owned();
                            trailers.push((name.to_string(), value));
                        }
                    }
                    Ok(Some(Piece::End)) => done = true,
                    Err(malformed) => return Outcome::Malformed(data, malformed),
                }
            }
        }
        if done {
            let rest = buffer.to_vec();
            Outcome::Complete {
                data,
                trailers,
                rest,
            }
        } else {
            Outcome::Incomplete(data)
        }
    }

    #[test]
    fn well_formed_bodies_are_read() {
        let check = |input: &str, expected: &str| match decode([input.as_bytes()]) {
            Outcome::Complete { data, rest, .. } => {
                assert_eq!(String::from_utf8(data).unwrap(), expected);
                assert!(rest.is_empty(), "{input:?}");
            }
            other => panic!("{input:?}: {other:?}"),
        };
        check("0\r\n\r\n", "");
        check("5\r\nhello\r\n0\r\n\r\n", "hello");
        check("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!");
        check("A\r\n0123456789\r\n0\r\n\r\n", "0123456789");
        check("00005\r\nhello\r\n000\r\n\r\n", "hello");
        check("5;name=value\r\nhello\r\n0;last\r\n\r\n", "hello");
        check("5;q=\"a b\"\r\nhello\r\n0\r\n\r\n", "hello");
        check("2\r\n\r\n\r\n0\r\n\r\n", "\r\n");
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        let long_line = format!("{}\r\n", "0".repeat(300));
        let extension = format!("1;{}\r\nx\r\n", "e".repeat(250)).repeat(20);
        let fields = format!("0\r\n{}\r\n", "a: b\r\n".repeat(40));
        let trailers = format!("0\r\na: {}\r\n\r\n", "b".repeat(9000));
        for input in [
            "x\r\n",
            "\r\n",
            ";\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloo\r\n0\r\n\r\n",
            "5\r\nhell\r\n0\r\n\r\n",
            "-5\r\nhello\r\n",
            "+5\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5\t\r\nhello\r\n",
            "5;a\rb\r\nhello\r\n",
            "5\r;\r\nhello\r\n",
            "5;a\0\r\nhello\r\n",
            "ffffffffffffffff\r\n",
            "10000000000000000\r\nx",
            "5,5\r\nhello\r\n",
            "0\r\nnot a field\r\n\r\n",
            "0\r\na: b\r\n folded\r\n\r\n",
            "0\r\na : b\r\n\r\n",
            "0\r\n: b\r\n\r\n",
            "0\r\na: b\nc: d\r\n\r\n",
            "0\r\na: b\rc\r\n\r\n",
            &long_line,
            &extension,
            &fields,
            &trailers,
        ] {
            let outcome = decode([input.as_bytes()]);
            assert!(
                matches!(outcome, Outcome::Malformed(..)),
                "{input:?}: {outcome:?}"
            );
        }
    }

    #[test]
    fn an_answer_may_have_blanks_behind_a_size_and_before_a_colon() {
        for input in [
            "5 \r\nhello\r\n0\r\na: b\r\n\r\n",
            "5\t \r\nhello\r\n0 \r\na : b\r\n\r\n",
            "5 ;a=b\r\nhello\r\n0 ; c\r\na\t: b\r\n\r\n",
            "5\t;a = b\r\nhello\r\n000\r\na :b\r\n\r\n",
        ] {
            let expected = Outcome::Complete {
                data: b"hello".to_vec(),
                trailers: vec![("a".into(), "b".into())],
                rest: Vec::new(),
            };
            let bytes = input.as_bytes();
            assert_eq!(
                decode_by(Chunked::of_an_answer(), [bytes]),
                expected,
                "{input:?}"
            );
            let single = decode_by(Chunked::of_an_answer(), bytes.chunks(1));
            assert_eq!(single, expected, "{input:?}");
            assert!(
                matches!(decode([bytes]), Outcome::Malformed(..)),
                "a request: {input:?}"
            );
        }
    }

    #[test]
    fn an_answers_blanks_are_taken_nowhere_else() {
        let long = format!("5{}\r\nhello\r\n", " ".repeat(300));
        for input in [
            " 5\r\nhello\r\n",
            "\t5\r\nhello\r\n",
            " \r\n",
            " ;a\r\n",
            "5 5\r\nhello\r\n",
            "5 x\r\nhello\r\n",
            "0 x5\r\nhello\r\n",
            "5\x0b\r\nhello\r\n",
            "5 \nhello\r\n0\r\n\r\n",
            "5 \r;\r\nhello\r\n",
            "0\r\n a: b\r\n\r\n",
            "0\r\na: b\r\n folded : c\r\n\r\n",
            "0\r\na b : c\r\n\r\n",
            "0\r\n : b\r\n\r\n",
            "0\r\na \r\n: b\r\n\r\n",
            &long,
        ] {
            let outcome = decode_by(Chunked::of_an_answer(), [input.as_bytes()]);
            assert!(
                matches!(outcome, Outcome::Malformed(..)),
                "{input:?}: {outcome:?}"
            );
        }
    }

    #[test]
    fn what_follows_the_end_is_left() {
        let outcome = decode([&b"1\r\nx\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"[..]]);
        let Outcome::Complete { rest, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(rest, b"HTTP/1.1 200 OK\r\n");
    }

    #[test]
    fn trailers_are_written_but_never_those_that_frame() {
        let mut trailers = HeaderMap::new();
        for name in [
            "grpc-status",
            "content-length",
            "x-countersign-app-id",
            "x_countersign_app_id",
            "authorization",
        ] {
            trailers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        let mut out = Vec::new();
        put_end(&mut out, Some(&trailers));
        assert_eq!(out, b"0\r\ngrpc-status: 1\r\n\r\n");
    }

    fn nearly_chunked() -> impl Strategy<Value = Vec<u8>> {
        let fragment = prop_oneof![
            Just("0\r\n\r\n".to_owned()),
            Just("0\r\n".to_owned()),
            Just("\r\n".to_owned()),
            Just("\n".to_owned()),
            Just("3\r\nabc\r\n".to_owned()),
            Just("a;x=y\r\n0123456789\r\n".to_owned()),
            Just("a: b\r\n".to_owned()),
            "[0-9a-f;\r\n :x]{0,6}",
        ];
        proptest::collection::vec(fragment, 0..12)
            .prop_map(|fragments| fragments.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn every_split_of_the_bytes_gives_the_same_result(
            input in nearly_chunked(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let whole = decode([input.as_slice()]);
            let single = decode(input.chunks(1));
            prop_assert_eq!(&whole, &single);
            let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
            places.extend([0, input.len()]);
            places.sort_unstable();
            let parts = places.windows(2).map(|pair| &input[pair[0]..pair[1]]);
            prop_assert_eq!(&whole, &decode(parts));
        }

        #[test]
        fn no_bytes_make_it_panic(input in proptest::collection::vec(any::<u8>(), 0..600)) {
            decode(input.chunks(7));
        }
    }
}
