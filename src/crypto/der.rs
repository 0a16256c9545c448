//! Writing values in DER: as much of it as comparing and reassembling signed structures takes.

pub const BIT_STRING: u8 = 0x03;
pub const NULL: u8 = 0x05;
pub const OBJECT_IDENTIFIER: u8 = 0x06;
pub const SEQUENCE: u8 = 0x30;

/// One value: its tag, the length in its only form, and the parts one after the other.
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
