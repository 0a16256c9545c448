//! A chunked body: as many bytes as its sizes announce, wherever it is cut.

use bytes::BytesMut;
use http::HeaderMap;

use crate::proxy::codec::chunked::{Chunked, Piece, put_end, put_size};
use crate::proxy::codec::malformed::Malformed;

#[derive(Debug, PartialEq)]
struct Decoded {
    data: Vec<u8>,
    trailers: HeaderMap,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    /// So many bytes follow.
    Complete(usize),
    Incomplete,
    Malformed(Malformed),
}

/// Reads `bytes` as a chunked body and whatever follows it; true when it is complete.
pub fn check(bytes: &[u8]) -> bool {
    let decoded = decode([bytes]);
    assert_eq!(decoded, decode(bytes.chunks(1)), "pieces change the body");
    assert_eq!(decoded, decode(bytes.chunks(7)), "pieces change the body");
    let (announced, complete) = announced(bytes);
    assert!(
        announced.starts_with(&decoded.data),
        "bytes that no size announces"
    );
    let End::Complete(rest) = decoded.end else {
        return false;
    };
    assert!(complete && announced == decoded.data, "a body ends early");
    assert!(rest <= bytes.len());
    assert_survives_writing(&decoded);
    true
}

fn decode<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Decoded {
    let (mut decoder, mut buffer) = (Chunked::default(), BytesMut::new());
    let mut found = Decoded {
        data: Vec::new(),
        trailers: HeaderMap::new(),
        end: End::Incomplete,
    };
    for part in parts {
        buffer.extend_from_slice(part);
        while found.end == End::Incomplete {
            match decoder.next(&mut buffer) {
                Ok(None) => break,
                Ok(Some(Piece::Data(data))) => {
                    assert!(!data.is_empty(), "an empty piece");
                    found.data.extend_from_slice(&data);
                }
                Ok(Some(Piece::Trailers(trailers))) => found.trailers = trailers,
                Ok(Some(Piece::End)) => found.end = End::Complete(0),
                Err(malformed) => found.end = End::Malformed(malformed),
            }
        }
    }
    if found.end == End::Complete(0) {
        found.end = End::Complete(buffer.len());
    }
    found
}

/// What the sizes announce, as far as they can be read, and whether the last one was among them.
fn announced(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let line = rest[..end].split(|byte| *byte == b';').next().unwrap();
        let digits = std::str::from_utf8(line).unwrap_or_default().trim_end();
        let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let Some(size) = u64::from_str_radix(digits, 16).ok().filter(|_| plain) else {
            break;
        };
        rest = &rest[end + 2..];
        if size == 0 {
            return (data, true);
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        data.extend_from_slice(&rest[..size]);
        match rest[size..].strip_prefix(b"\r\n") {
            Some(after) => rest = after,
            None => break,
        }
    }
    (data, false)
}

/// What was read, written as we write it, is read as the same.
fn assert_survives_writing(decoded: &Decoded) {
    let mut text = Vec::new();
    for piece in decoded.data.chunks(100) {
        put_size(&mut text, piece.len());
        text.extend_from_slice(piece);
        text.extend_from_slice(b"\r\n");
    }
    put_end(&mut text, Some(&decoded.trailers));
    let again = decode([&*text]);
    assert_eq!(
        (&again.data, &again.end),
        (&decoded.data, &End::Complete(0))
    );
    for (name, value) in &again.trailers {
        let mut known = decoded.trailers.get_all(name).iter();
        assert!(known.any(|known| known == value), "{name} is new");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_chunked_bodies_keeps_its_properties() {
        super::super::corpus::holds("chunked_body", super::check);
    }
}
