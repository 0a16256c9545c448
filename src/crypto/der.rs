//! Values in DER, read one after the other with their places: the part of DER that signed structures need.

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const NULL: u8 = 0x05;
pub const OBJECT_IDENTIFIER: u8 = 0x06;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
/// `[0]` around other values.
pub const CONTEXT_0: u8 = 0xa0;

/// One value with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'d> {
    /// The offset of its tag, from 0, as `openssl asn1parse` counts.
    pub at: usize,
    pub tag: u8,
    pub content: &'d [u8],
    /// Tag, length and content.
    pub raw: &'d [u8],
}

/// Bytes that are not the DER that is expected at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part}, at byte {at}, {how}")]
pub struct Fault {
    /// The expected part, for example `the signature`.
    pub part: &'static str,
    pub at: usize,
    pub how: &'static str,
}

impl<'d> Value<'d> {
    /// A reader of the values inside this value.
    pub const fn values(&self) -> Reader<'d> {
        Reader {
            rest: self.content,
            at: self.at + (self.raw.len() - self.content.len()),
        }
    }
}

/// Values that follow each other. Lengths have the one form of DER, tags have one byte.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'d> {
    rest: &'d [u8],
    at: usize,
}

impl<'d> Reader<'d> {
    pub const fn new(bytes: &'d [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, of any tag.
    pub fn any(&mut self, part: &'static str) -> Result<Value<'d>, Fault> {
        let at = self.at;
        let fault = |how| Fault { part, at, how };
        let [tag, length, ..] = *self.rest else {
            return Err(fault(if self.rest.is_empty() {
                "is missing"
            } else {
                "is cut off"
            }));
        };
        if tag & 0x1f == 0x1f {
            return Err(fault("has a tag of more than one byte"));
        }
        let (head, length) = length_of(self.rest, length).map_err(fault)?;
        let whole = head.saturating_add(length);
        let Some((raw, rest)) = self.rest.split_at_checked(whole) else {
            return Err(fault("is longer than the value around it"));
        };
        let content = raw.get(head..).unwrap_or_default();
        (self.rest, self.at) = (rest, at + whole);
        Ok(Value {
            at,
            tag,
            content,
            raw,
        })
    }

    /// The next value, if it has this tag.
    pub fn value(&mut self, tag: u8, part: &'static str) -> Result<Value<'d>, Fault> {
        let value = self.any(part)?;
        if value.tag == tag {
            return Ok(value);
        }
        let (at, how) = (value.at, "has another type than it should have");
        Err(Fault { part, at, how })
    }

    /// Refuses bytes after the last value.
    pub const fn end(&self, part: &'static str) -> Result<(), Fault> {
        if self.is_empty() {
            return Ok(());
        }
        let how = "has bytes after its end";
        let at = self.at;
        Err(Fault { part, at, how })
    }
}

/// The length of tag and length field, and the length of the content behind them.
fn length_of(bytes: &[u8], first: u8) -> Result<(usize, usize), &'static str> {
    /// A longer length exceeds every input.
    const OCTETS_MAX: usize = 4;
    if first < 0x80 {
        return Ok((2, usize::from(first)));
    }
    let octets = usize::from(first & 0x7f);
    if octets == 0 {
        return Err("has no definite length, as BER allows and DER does not");
    }
    let Some(written) = bytes.get(2..2 + octets) else {
        return Err("is cut off");
    };
    if octets > OCTETS_MAX {
        return Err("is longer than the value around it");
    }
    let length = written
        .iter()
        .fold(0, |length, octet| length << 8 | usize::from(*octet));
    if length < 0x80 || written.first() == Some(&0) {
        return Err("has a length in a longer form than DER prescribes");
    }
    Ok((2 + octets, length))
}

/// Writes one value, for tests: its tag, the length in its only form, and the parts one after the other.
#[cfg(test)]
pub fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut value = vec![tag];
    match significant.as_slice() {
        [] => value.push(0),
        [short] if *short < 0x80 => value.push(*short),
        long => {
            value.push(0x80 | u8::try_from(long.len()).expect("a length has at most 8 octets"));
            value.extend_from_slice(long);
        }
    }
    value.extend(content);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_reads_back(one in proptest::collection::vec(any::<u8>(), 0..300)) {
            let inner = value(OCTET_STRING, &[&one]);
            let outer = value(SEQUENCE, &[&inner, &inner]);
            let mut whole = Reader::new(&outer);
            let read = whole.value(SEQUENCE, "it").unwrap();
            prop_assert_eq!(read.raw, &outer[..]);
            prop_assert_eq!(whole.end("it"), Ok(()));
            let mut inside = read.values();
            let first = inside.any("one").unwrap();
            let second = inside.any("two").unwrap();
            prop_assert_eq!(first.content, &one[..]);
            prop_assert_eq!(second.at, first.at + inner.len());
            prop_assert!(inside.is_empty());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(value) = reader.any("it") {
                let _ = value.values().any("inner");
            }
        }
    }

    #[test]
    fn what_is_not_der_is_refused_with_its_place() {
        let fault = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            reader.value(NULL, "the first").unwrap();
            let outcome = reader.value(SEQUENCE, "it").map(|_| ());
            outcome
                .and_then(|()| reader.end("it"))
                .unwrap_err()
                .to_string()
        };
        for (bytes, words) in [
            (&[5, 0][..], "it, at byte 2, is missing"),
            (&[5, 0, 0x30], "it, at byte 2, is cut off"),
            (
                &[5, 0, 0x30, 1],
                "it, at byte 2, is longer than the value around it",
            ),
            (&[5, 0, 0x30, 0x81], "it, at byte 2, is cut off"),
            (&[5, 0, 0x30, 0x80, 0, 0], "no definite length"),
            (&[5, 0, 0x30, 0x81, 1, 0], "in a longer form"),
            (&[5, 0, 0x30, 0x82, 0, 0x80], "in a longer form"),
            (&[5, 0, 0x30, 0xff], "is cut off"),
            (&[5, 0, 0x3f, 0], "a tag of more than one byte"),
            (&[5, 0, 4, 0], "another type"),
            (
                &[5, 0, 0x30, 0, 0],
                "it, at byte 4, has bytes after its end",
            ),
        ] {
            let found = fault(bytes);
            assert!(found.contains(words), "{bytes:?}: {found}");
        }
    }

    #[test]
    fn lengths_have_one_form() {
        for (length, head) in [
            (0, &[5, 0][..]),
            (0x7f, &[5, 0x7f]),
            (0x80, &[5, 0x81, 0x80]),
            (0xff, &[5, 0x81, 0xff]),
            (0x100, &[5, 0x82, 1, 0]),
        ] {
            let content = vec![0; length];
            let (one, two) = content.split_at(length / 2);
            let written = value(NULL, &[one, two]);
            assert_eq!(written, [head, &content].concat());
        }
    }
}
