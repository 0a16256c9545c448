//! The head of an upstream's answer: one length, nothing that is for one hop, and nothing in our name.

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, StatusCode};

use super::lines;
use crate::proxy::codec::fields::{is_hop_by_hop, is_reserved};
use crate::proxy::upstream::answer_head::{
    AnswerHead, AnswerParser, BadAnswer, BodyLength, Expected, Parsed,
};

/// What a head means.
#[derive(Debug, PartialEq)]
struct Meaning {
    status: StatusCode,
    fields: Vec<(HeaderName, HeaderValue)>,
    framing: BodyLength,
    keep_alive: bool,
    switched: bool,
}

/// Reads what follows the first byte, which says what was asked for; true when there is an answer.
pub fn check(bytes: &[u8]) -> bool {
    let Some((order, bytes)) = bytes.split_first() else {
        return false;
    };
    let websocket = HeaderValue::from_static("websocket");
    let asked = Expected {
        head_only: order & 1 == 1,
        upgrade: (order & 2 == 2).then_some(&websocket),
        ..Expected::default()
    };
    let mut buffer = BytesMut::from(bytes);
    let whole = AnswerParser::default().take(&mut buffer, asked);
    let by_bytes = read_byte_by_byte(bytes, asked);
    let Ok(Some(parsed)) = whole else {
        assert!(!matches!(by_bytes, Ok(Some(_))), "accepted in pieces only");
        return false;
    };
    let head_bytes = bytes.strip_suffix(&*buffer).unwrap();
    lines::assert_crlf(head_bytes);
    assert!(head_bytes.ends_with(b"\r\n\r\n"));
    match (parsed, by_bytes) {
        (Parsed::Final(head), Ok(Some(Parsed::Final(by_bytes)))) => {
            let meaning = meaning(&head);
            assert_eq!(meaning, self::meaning(&by_bytes), "pieces change it");
            assert_for_the_client(&lines::fields(head_bytes), &meaning);
            // Writing adds a line or two, and the bounds are the parser's.
            if meaning.fields.len() < 100 && head_bytes.len() < 32 << 10 {
                assert_survives_writing(&meaning, asked);
            }
        }
        (Parsed::Interim { bytes, .. }, Ok(Some(Parsed::Interim { .. }))) => {
            assert_eq!((bytes, head_bytes[9]), (head_bytes.len(), b'1'));
        }
        other => panic!("pieces change it: {other:?}"),
    }
    true
}

fn read_byte_by_byte(bytes: &[u8], asked: Expected<'_>) -> Result<Option<Parsed>, BadAnswer> {
    let (mut parser, mut buffer) = (AnswerParser::default(), BytesMut::new());
    for byte in bytes {
        buffer.extend_from_slice(&[*byte]);
        match parser.take(&mut buffer, asked) {
            Ok(None) => {}
            end => return end,
        }
    }
    Ok(None)
}

fn meaning(head: &AnswerHead) -> Meaning {
    let fields = head.head.fields.iter();
    Meaning {
        status: head.head.status,
        fields: fields
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        framing: head.framing,
        keep_alive: head.keep_alive,
        switched: head.switched,
    }
}

/// Nothing passes that is for the upstream's hop or that only the gateway says, and the body has one length.
fn assert_for_the_client(raw: &[(String, Vec<u8>)], meaning: &Meaning) {
    let nominated = lines::listed(raw, "connection");
    for (name, _) in &meaning.fields {
        let ours = meaning.switched && matches!(name.as_str(), "connection" | "upgrade");
        assert!(ours || !is_hop_by_hop(name), "{name} is for one hop");
        assert!(!is_reserved(name), "{name} is only ours to say");
        let framing = name == "content-length";
        let is_nominated = nominated.iter().any(|listed| listed == name.as_str());
        assert!(ours || framing || !is_nominated, "{name} is for one hop");
    }
    let chunked = lines::count(raw, "transfer-encoding");
    let lengths = lines::count(raw, "content-length");
    assert!(chunked == 0 || lengths == 0, "a body has two lengths");
    if meaning.framing == BodyLength::Chunked {
        assert_eq!(chunked, 1);
    }
    if meaning.framing == BodyLength::UntilClose {
        assert!(!meaning.keep_alive, "a body that ends with its connection");
    }
}

/// What was read, written again, is read as the same.
fn assert_survives_writing(meaning: &Meaning, asked: Expected<'_>) {
    let mut text = format!("HTTP/1.1 {} \r\n", meaning.status.as_str()).into_bytes();
    let mut put = |name: &str, value: &[u8]| {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    };
    for (name, value) in &meaning.fields {
        put(name.as_str(), value.as_bytes());
    }
    if meaning.framing == BodyLength::Chunked {
        put("transfer-encoding", b"chunked");
    }
    if !meaning.keep_alive {
        put("connection", b"close");
    }
    text.extend_from_slice(b"\r\n");
    match AnswerParser::default().take(&mut BytesMut::from(&*text), asked) {
        Ok(Some(Parsed::Final(again))) => assert_eq!(*meaning, self::meaning(&again)),
        other => panic!("{other:?}: {:?}", String::from_utf8_lossy(&text)),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_answer_heads_keeps_its_properties() {
        super::super::corpus::holds("answer_head", super::check);
    }
}
