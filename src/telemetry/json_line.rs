//! JSON objects of one line each, written straight into a buffer: a log line a request is no place for a formatter.

use std::io::Write;
use std::net::IpAddr;

/// An object whose members are being written. Their names are ours and need no escape.
///
/// What is written reads as what `serde_json` would write for the same members. Beyond ASCII, controls and characters that
/// turn the direction of text are escaped as well: some terminals read U+009B as the beginning of a command.
#[derive(Debug)]
pub struct JsonLine<'b> {
    buffer: &'b mut Vec<u8>,
    /// Goes before the next member's name.
    before: u8,
}

impl<'b> JsonLine<'b> {
    /// Begins an object behind what is in `buffer` already. `room` is how many bytes it is likely to take, so that
    /// the buffer grows once.
    pub fn begin(buffer: &'b mut Vec<u8>, room: usize) -> Self {
        buffer.reserve(room);
        Self {
            buffer,
            before: b'{',
        }
    }

    /// A member whose text may hold anything.
    #[inline]
    pub fn text(&mut self, name: &'static str, value: &str) {
        self.name(name);
        self.buffer.push(b'"');
        escape(value, self.buffer);
        self.buffer.push(b'"');
    }

    /// A member whose text is ASCII and needs no escape: neither quotes, nor backslashes, nor controls are in it.
    #[inline]
    pub fn plain(&mut self, name: &'static str, value: &[u8]) {
        let plain = |byte: &u8| byte.is_ascii() && !is_escaped(*byte);
        debug_assert!(value.iter().all(plain), "{value:?} is not plain");
        self.name(name);
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(value);
        self.buffer.push(b'"');
    }

    /// A member whose text is ours, may go beyond ASCII, and needs no escape.
    #[inline]
    pub fn ours(&mut self, name: &'static str, value: &[u8]) {
        debug_assert!(
            std::str::from_utf8(value)
                .is_ok_and(|text| !text.chars().any(|character| is_command(character)
                    || u8::try_from(character).is_ok_and(is_escaped))),
            "{value:?} needs an escape"
        );
        self.name(name);
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(value);
        self.buffer.push(b'"');
    }

    /// A member with plain words, separated by blanks.
    pub fn words<'w>(&mut self, name: &'static str, words: impl Iterator<Item = &'w str>) {
        self.name(name);
        self.buffer.push(b'"');
        for (place, word) in words.enumerate() {
            if place > 0 {
                self.buffer.push(b' ');
            }
            debug_assert!(
                word.bytes()
                    .all(|byte| byte.is_ascii_graphic() && !is_escaped(byte))
            );
            self.buffer.extend_from_slice(word.as_bytes());
        }
        self.buffer.push(b'"');
    }

    #[inline]
    pub fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        let mut digits = itoa::Buffer::new();
        self.buffer
            .extend_from_slice(digits.format(value).as_bytes());
    }

    #[inline]
    pub fn address(&mut self, name: &'static str, value: IpAddr) {
        self.name(name);
        self.buffer.push(b'"');
        match value {
            IpAddr::V4(address) => self.dotted(address.octets()),
            IpAddr::V6(address) => {
                // Writing to memory does not fail.
                let _written = write!(self.buffer, "{address}");
            }
        }
        self.buffer.push(b'"');
    }

    /// Ends the object and the line.
    pub fn end(self) {
        if self.before == b'{' {
            self.buffer.push(b'{');
        }
        self.buffer.extend_from_slice(b"}\n");
    }

    fn dotted(&mut self, octets: [u8; 4]) {
        let mut digits = itoa::Buffer::new();
        for (place, octet) in octets.into_iter().enumerate() {
            if place > 0 {
                self.buffer.push(b'.');
            }
            self.buffer
                .extend_from_slice(digits.format(octet).as_bytes());
        }
    }

    #[inline]
    fn name(&mut self, name: &'static str) {
        self.buffer.extend_from_slice(&[self.before, b'"']);
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b"\":");
        self.before = b',';
    }
}

/// Whether a byte must not stand in a string as it is (RFC 8259, 7).
const fn is_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// True if a byte is escaped, or part of a character that may be.
const fn is_looked_at(byte: u8) -> bool {
    is_escaped(byte) || byte >= 0x7f
}

fn escape(text: &str, buffer: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    // All of them are looked at, many at once: nearly every text is without such a byte.
    let found = bytes
        .iter()
        .fold(false, |found, byte| found | is_looked_at(*byte));
    if !found {
        return buffer.extend_from_slice(bytes);
    }
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) if byte < 0x7f => escape_byte(byte, buffer),
            _ if is_command(character) => {
                // Writing to memory does not fail.
                let _written = write!(buffer, "\\u{:04x}", u32::from(character));
            }
            _ => buffer.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// True if a character that is no ASCII is a command to the program that shows it: a control, the end of a line, or one
/// that turns the direction of text. All of them have four hexadecimal digits.
pub const fn is_command(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

fn escape_byte(byte: u8, buffer: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        control if control < b' ' => {
            let mut digits = [0; 2];
            data_encoding::HEXLOWER.encode_mut(&[control], &mut digits);
            buffer.extend_from_slice(b"\\u00");
            return buffer.extend_from_slice(&digits);
        }
        plain => return buffer.push(plain),
    };
    buffer.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(write: impl FnOnce(&mut JsonLine<'_>)) -> String {
        let mut buffer = Vec::new();
        let mut line = JsonLine::begin(&mut buffer, 0);
        write(&mut line);
        line.end();
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn members_stand_in_their_order() {
        let written = line(|line| {
            line.plain("a", b"x");
            line.number("b", u64::MAX);
            line.text("c", "y");
            line.number("d", 0);
        });
        assert_eq!(
            written,
            "{\"a\":\"x\",\"b\":18446744073709551615,\"c\":\"y\",\"d\":0}\n"
        );
        assert_eq!(line(|_| {}), "{}\n");
    }

    #[test]
    fn every_character_is_written_as_serde_json_would_write_it_or_reads_as_the_same() {
        let all = (0..0x300)
            .chain(0x2000..0x2100)
            .chain([0xffff, 0x1_f600, 0x10_ffff]);
        for character in all.filter_map(char::from_u32) {
            let text = format!("a{character}b");
            let written = line(|line| line.text("t", &text));
            if is_command(character) {
                let read: serde_json::Value = serde_json::from_str(&written).unwrap();
                assert_eq!(read["t"], text, "{written}");
                assert!(
                    written
                        .trim_end()
                        .bytes()
                        .all(|byte| byte.is_ascii_graphic()),
                    "{written}"
                );
            } else {
                let expected = format!("{{\"t\":{}}}\n", serde_json::to_string(&text).unwrap());
                assert_eq!(written, expected, "{text:?}");
            }
        }
    }

    #[test]
    fn no_character_is_a_command_to_a_terminal() {
        for character in [
            '\u{7f}', '\u{85}', '\u{9b}', '\u{200f}', '\u{2028}', '\u{202e}', '\u{2066}',
        ] {
            assert!(is_command(character), "{character:?}");
            assert!(!line(|line| line.text("t", &format!("{character}31m"))).contains(character));
        }
    }

    #[test]
    fn addresses_have_their_usual_form() {
        for address in [
            "0.0.0.0",
            "192.0.2.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:192.0.2.1",
            "2001:db8:1111:2222:3333:4444:5555:6666",
        ] {
            let written = line(|line| line.address("a", address.parse().unwrap()));
            assert_eq!(written, format!("{{\"a\":\"{address}\"}}\n"));
        }
    }

    proptest! {
        #[test]
        fn every_text_reads_as_what_it_was(
            text in prop_oneof![any::<String>(), "[\\x00-\\x7f]{0,80}", "[ -~]{0,80}", "[\"\\\\]{0,9}"],
            number: u64,
            address: IpAddr,
        ) {
            let written = line(|line| {
                line.text("text", &text);
                line.number("number", number);
                line.address("address", address);
            });
            if !text.contains(is_command) {
                let expected = format!(
                    "{{\"text\":{},\"number\":{number},\"address\":{}}}\n",
                    serde_json::to_string(&text).unwrap(),
                    serde_json::to_string(&address).unwrap(),
                );
                prop_assert_eq!(&written, &expected);
            }
            let read: serde_json::Value = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read["text"].as_str(), Some(text.as_str()));
            prop_assert!(!written.trim_end().contains(char::is_control));
        }
    }
}
