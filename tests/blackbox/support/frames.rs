//! HTTP/2 frame by frame, so that a test can say what no library would.

use std::time::Duration;

use super::client::{Connection, Partner};
use super::gateway::HOST;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// The longest that a test waits for a frame.
const PATIENCE: Duration = Duration::from_secs(8);

/// A connection that agreed on HTTP/2, after both sides' beginnings.
#[derive(Debug)]
pub struct Frames {
    pub connection: Connection,
}

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// How the other side ended a stream, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered(u16),
    Reset(u32),
    /// The connection is over, with the code that was given for it.
    Gone(Option<u32>),
}

impl Outcome {
    /// Whether nobody could take this for a granted request.
    pub fn refused(self) -> bool {
        match self {
            Self::Answered(status) => (400..500).contains(&status),
            Self::Reset(_) | Self::Gone(_) => true,
        }
    }
}

impl Frames {
    pub fn open(partner: &Partner) -> Self {
        Self::open_with(partner, &[])
    }

    /// Opens with these settings.
    pub fn open_with(partner: &Partner, settings: &[(u16, u32)]) -> Self {
        let mut connection = partner.try_connect_offering(HOST, &["h2"]).unwrap();
        connection.set_patience(PATIENCE);
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        put(&mut hello, SETTINGS, 0, 0, &payload);
        connection.send(&hello);
        Self { connection }
    }

    /// Sends one frame; gives whether the connection took it.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let mut bytes = Vec::with_capacity(payload.len() + 9);
        put(&mut bytes, kind, flags, stream, payload);
        self.send_bytes(&bytes)
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.connection.try_send(bytes).is_ok()
    }

    /// Sends these bytes again and again; gives how often before the connection ended.
    pub fn flood(&mut self, bytes: &[u8], times: usize) -> usize {
        (0..times).take_while(|_| self.send_bytes(bytes)).count()
    }

    /// Reads the next frame; `None` when there is none any more.
    pub fn receive(&mut self) -> Option<Frame> {
        let head = self.exactly(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload: self.exactly(length)?,
        })
    }

    fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.connection.read(&mut bytes[filled..]) {
                Ok(0) | Err(_) => return None,
                Ok(read) => filled += read,
            }
        }
        Some(bytes)
    }

    /// Waits for what becomes of a stream.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let Some(frame) = self.receive() else {
                return Outcome::Gone(None);
            };
            match frame.kind {
                HEADERS if frame.stream == stream => {
                    return Outcome::Answered(status(&frame.payload));
                }
                RST_STREAM if frame.stream == stream => {
                    return Outcome::Reset(number(&frame.payload));
                }
                GOAWAY if number(&frame.payload[4..]) != 0 => {
                    return Outcome::Gone(Some(number(&frame.payload[4..])));
                }
                _ => {}
            }
        }
    }

    /// Reads on until the other side ends the connection, and answers its pings, as a client does that means well.
    pub fn until_end(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.receive() {
            if frame.kind == PING {
                self.send(PING, ACK, 0, &frame.payload);
            }
            frames.push(frame);
        }
        frames
    }

    /// Whether the other side ends the connection within `patience`; what it says before is read.
    pub fn ends_within(&mut self, patience: Duration) -> bool {
        let begun = std::time::Instant::now();
        self.connection.set_patience(patience);
        let mut bytes = [0_u8; 16 << 10];
        while begun.elapsed() < patience {
            match self.connection.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    );
                }
            }
        }
        false
    }
}

/// Appends a frame.
pub fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap();
    out.extend(&length.to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// The fields of an honest request for `path`.
pub fn get(path: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", path),
    ])
}

pub fn fields(list: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    list.iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

/// A header block of these fields as literals that no table remembers.
pub fn block(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            put_length(&mut out, text.len());
            out.extend(text);
        }
    }
    out
}

/// A length with a prefix of seven bits (RFC 7541, 5.1), not compressed.
pub fn put_length(out: &mut Vec<u8>, length: usize) {
    if length < 127 {
        out.push(u8::try_from(length).unwrap());
        return;
    }
    out.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// The status at the front of an answer's header block; 0 when the table would be needed to tell.
pub fn status(block: &[u8]) -> u16 {
    let start = block
        .iter()
        .position(|byte| byte & 0xe0 != 0x20)
        .unwrap_or(0);
    match &block[start..] {
        [code @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(code - 0x88)],
        // A literal under the name `:status`, indexed or not.
        [0x08 | 0x18 | 0x48..=0x4e, length, rest @ ..] => {
            let text = &rest[..usize::from(length & 0x7f)];
            if length & 0x80 == 0 {
                String::from_utf8_lossy(text).parse().unwrap_or(0)
            } else {
                huffman_digits(text)
            }
        }
        _ => 0,
    }
}

/// Three digits in the code of RFC 7541, appendix B.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1))
        .collect();
    let (mut at, mut value) = (0, 0);
    for _ in 0..3 {
        let take = |from: usize, count: usize| {
            bits[from..from + count]
                .iter()
                .fold(0_u16, |value, bit| value << 1 | u16::from(*bit))
        };
        let short = take(at, 5);
        let digit = if short <= 2 {
            at += 5;
            short
        } else {
            at += 6;
            take(at - 6, 6) - 0b01_1001 + 3
        };
        value = value * 10 + digit;
    }
    value
}
