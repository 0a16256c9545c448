//! HTTP/2 as a client: as much of it as a load generator needs.
//!
//! Requests differ in nothing but the stream number, so a connection sends one of two prepared header blocks: `first`
//! fills the server's HPACK table, `repeat` then names each entry by one byte, as a browser's second request does.

use std::collections::VecDeque;
use std::time::Instant;

use crate::options::Options;
use crate::tally::Tally;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const FRAME_HEAD: usize = 9;
const WINDOW_MAX: u32 = 0x7fff_ffff;
/// The connection's window is topped up when half of it is used: one frame per 512 MiB.
const TOP_UP_AFTER: u64 = 1 << 29;

const SETTINGS_HEADER_TABLE_SIZE: u16 = 1;
const SETTINGS_MAX_CONCURRENT_STREAMS: u16 = 3;
/// The HPACK table that every server offers until it says otherwise (RFC 9113, 6.5.2).
const TABLE_SIZE: usize = 4096;

/// The header blocks that all connections share.
pub struct Blocks {
    first: Vec<u8>,
    repeat: Vec<u8>,
    /// Uses no table: for a server that offers less than 4096 bytes of it.
    plain: Vec<u8>,
}

impl Blocks {
    pub fn new(options: &Options) -> Self {
        let fields = fields(options);
        let (mut first, mut plain) = (start_of_block(), Vec::new());
        let mut indexed = Vec::new();
        let mut table_left = TABLE_SIZE;
        for (name, value) in &fields {
            let cost = name.len() + value.len() + 32;
            let fits = cost <= table_left;
            if fits {
                table_left -= cost;
            }
            indexed.push(fits);
            literal(&mut first, fits, name, value);
        }
        // The newest entry has the lowest index, so an entry's index is the number of entries added from it on.
        let mut repeat = start_of_block();
        for (position, (name, value)) in fields.iter().enumerate() {
            if indexed[position] {
                let newer = indexed[position..].iter().filter(|fits| **fits).count();
                integer(&mut repeat, 0x80, 7, STATIC_ENTRIES + newer);
            } else {
                literal(&mut repeat, false, name, value);
            }
        }
        plain.push(0x20); // the table's size is now 0, which must be said once and may be said again
        plain.extend(start_of_block());
        for (name, value) in &fields {
            literal(&mut plain, false, name, value);
        }
        Self {
            first,
            repeat,
            plain,
        }
    }
}

/// The server wants no more requests on this connection.
#[derive(Debug, PartialEq)]
pub struct GoneAway;

/// One connection's state.
pub struct Session {
    /// The beginning of a frame whose end has not arrived.
    partial: Vec<u8>,
    next_stream: u32,
    table_filled: bool,
    table_refused: bool,
    streams_max: u32,
    in_flight: u32,
    /// When each request in flight was sent, oldest first. An answer is matched with the oldest: the mean is exact,
    /// and the quantiles are nearly so, because every request is alike.
    sent: VecDeque<Instant>,
    received: u64,
}

impl Session {
    pub fn new() -> Self {
        Self {
            partial: Vec::new(),
            next_stream: 1,
            table_filled: false,
            table_refused: false,
            streams_max: u32::MAX,
            in_flight: 0,
            sent: VecDeque::new(),
            received: 0,
        }
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The connection preface, with windows so large that flow control never waits.
    pub fn preface() -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame_head(&mut bytes, 12, SETTINGS, 0, 0);
        bytes.extend_from_slice(&[0, 2, 0, 0, 0, 0]); // ENABLE_PUSH = 0
        bytes.extend_from_slice(&[0, 4]); // INITIAL_WINDOW_SIZE
        bytes.extend_from_slice(&WINDOW_MAX.to_be_bytes());
        window_update(&mut bytes, WINDOW_MAX - 65_535);
        bytes
    }

    /// Requests until `streams` are in flight.
    pub fn fill(&mut self, blocks: &Blocks, streams: u32, out: &mut Vec<u8>) {
        let now = Instant::now();
        while self.in_flight < streams.min(self.streams_max) {
            self.request(blocks, now, out);
        }
    }

    pub fn request(&mut self, blocks: &Blocks, due: Instant, out: &mut Vec<u8>) {
        let block = match (self.table_refused, self.table_filled) {
            (true, _) => &blocks.plain,
            (false, false) => &blocks.first,
            (false, true) => &blocks.repeat,
        };
        self.table_filled = true;
        frame_head(
            out,
            block.len(),
            HEADERS,
            END_STREAM | END_HEADERS,
            self.next_stream,
        );
        out.extend_from_slice(block);
        self.next_stream += 2;
        self.in_flight += 1;
        self.sent.push_back(due);
    }

    /// Reads frames; what must be said in return goes to `out`. The number of answers that ended, or `GoneAway`.
    pub fn read(
        &mut self,
        data: &[u8],
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Result<u32, GoneAway> {
        if self.partial.is_empty() {
            let (used, ended) = self.read_frames(data, out, tally)?;
            self.partial.extend_from_slice(&data[used..]);
            return Ok(ended);
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(data);
        let (used, ended) = self.read_frames(&joined, out, tally)?;
        joined.drain(..used);
        self.partial = joined;
        Ok(ended)
    }

    fn read_frames(
        &mut self,
        data: &[u8],
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Result<(usize, u32), GoneAway> {
        let (mut used, mut ended) = (0, 0);
        while let Some(head) = data[used..].first_chunk::<FRAME_HEAD>() {
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let (kind, flags) = (head[3], head[4]);
            let Some(payload) = data.get(used + FRAME_HEAD..used + FRAME_HEAD + length) else {
                break;
            };
            used += FRAME_HEAD + length;
            match kind {
                HEADERS if !is_status_200(payload, flags) => tally.non200 += 1,
                DATA => self.count_received(length, out),
                RST_STREAM => {
                    tally.errors += 1;
                    self.end_stream();
                    ended += 1;
                }
                SETTINGS if flags & ACK == 0 => {
                    self.apply_settings(payload);
                    frame_head(out, 0, SETTINGS, ACK, 0);
                }
                PING if flags & ACK == 0 => {
                    frame_head(out, length, PING, ACK, 0);
                    out.extend_from_slice(payload);
                }
                GOAWAY => {
                    eprintln!("GOAWAY {:02x?}", &payload[..length.min(8)]);
                    return Err(GoneAway);
                }
                _ => {}
            }
            if (kind == HEADERS || kind == DATA) && flags & END_STREAM != 0 {
                ended += 1;
                tally.answered(self.end_stream());
            }
        }
        Ok((used, ended))
    }

    fn end_stream(&mut self) -> Option<Instant> {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.sent.pop_front()
    }

    fn count_received(&mut self, length: usize, out: &mut Vec<u8>) {
        self.received += length as u64;
        if self.received > TOP_UP_AFTER {
            window_update(out, self.received as u32);
            self.received = 0;
        }
    }

    fn apply_settings(&mut self, payload: &[u8]) {
        for setting in payload.chunks_exact(6) {
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                SETTINGS_HEADER_TABLE_SIZE if (value as usize) < TABLE_SIZE => {
                    self.table_refused = true
                }
                SETTINGS_MAX_CONCURRENT_STREAMS => self.streams_max = value,
                _ => {}
            }
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether an answer's head begins with `:status: 200` as static entry 8, which is how every proxy here writes it.
fn is_status_200(payload: &[u8], flags: u8) -> bool {
    let skipped = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
    let mut block = payload.get(skipped..).unwrap_or_default();
    while let [size_update, rest @ ..] = block
        && size_update & 0xe0 == 0x20
    {
        block = rest;
    }
    block.first() == Some(&0x88)
}

fn frame_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    let length = (length as u32).to_be_bytes();
    out.extend_from_slice(&[length[1], length[2], length[3], kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

fn window_update(out: &mut Vec<u8>, increment: u32) {
    frame_head(out, 4, 8, 0, 0);
    out.extend_from_slice(&increment.to_be_bytes());
}

/// What is not in the static table whole: `:authority`, `:path` and the headers, lower-cased.
fn fields(options: &Options) -> Vec<(String, String)> {
    let mut fields = vec![
        (":authority".into(), options.host.clone()),
        (":path".into(), options.path.clone()),
    ];
    fields.extend(
        options
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone())),
    );
    fields
}

/// `:method: GET` and `:scheme: https`, both whole in the static table.
fn start_of_block() -> Vec<u8> {
    vec![0x82, 0x87]
}

/// The number of entries in HPACK's static table (RFC 7541, appendix A), after which the dynamic ones are counted.
const STATIC_ENTRIES: usize = 61;

/// Static entries whose name alone is of use.
fn static_name(name: &str) -> Option<usize> {
    Some(match name {
        ":authority" => 1,
        ":path" => 4,
        "accept" => 19,
        "authorization" => 23,
        "content-type" => 31,
        "cookie" => 32,
        "user-agent" => 58,
        _ => return None,
    })
}

/// A literal field (RFC 7541, 6.2), with or without adding it to the table. No Huffman coding: a token's characters
/// gain little from it.
fn literal(out: &mut Vec<u8>, add_to_table: bool, name: &str, value: &str) {
    let (pattern, prefix_bits) = if add_to_table { (0x40, 6) } else { (0x00, 4) };
    match static_name(name) {
        Some(index) => integer(out, pattern, prefix_bits, index),
        None => {
            out.push(pattern);
            string(out, name);
        }
    }
    string(out, value);
}

fn string(out: &mut Vec<u8>, text: &str) {
    integer(out, 0, 7, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// HPACK's integer (RFC 7541, 5.1): in the prefix if it fits, else the prefix full of ones and the rest in sevens.
fn integer(out: &mut Vec<u8>, pattern: u8, prefix_bits: u32, value: usize) {
    let full = (1usize << prefix_bits) - 1;
    if value < full {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | full as u8);
    let mut left = value - full;
    while left >= 128 {
        out.push((left % 128) as u8 | 0x80);
        left /= 128;
    }
    out.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_the_ones_of_the_rfc() {
        let check = |prefix_bits, value, expected: &[u8]| {
            let mut out = Vec::new();
            integer(&mut out, 0, prefix_bits, value);
            assert_eq!(out, expected);
        };
        check(5, 10, &[10]);
        check(5, 1337, &[31, 154, 10]);
        check(8, 42, &[42]);
        check(7, 1031, &[127, 136, 7]);
    }

    #[test]
    fn a_repeated_block_names_the_first_blocks_entries() {
        let mut options = [
            "--mode",
            "h2",
            "--cert",
            "c",
            "--key",
            "k",
            "--no-default-headers",
            "--header",
            "X-A: b",
        ]
        .map(String::from)
        .to_vec();
        let blocks =
            |arguments: &[String]| Blocks::new(&Options::parse(arguments.iter().cloned()).unwrap());
        // :authority was added first of three, so it is the third newest.
        assert_eq!(
            blocks(&options).repeat,
            [0x82, 0x87, 0x80 | 64, 0x80 | 63, 0x80 | 62]
        );
        options.extend([
            "--header".into(),
            format!("Authorization: Bearer {}", "x".repeat(5000)),
        ]);
        let blocks = blocks(&options);
        assert_eq!(
            blocks.repeat[..5],
            [0x82, 0x87, 0x80 | 64, 0x80 | 63, 0x80 | 62]
        );
        assert_eq!(
            blocks.repeat[5..7],
            [0x0f, 23 - 15],
            "too long for the table, so a literal every time"
        );
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let mut answer = Vec::new();
        frame_head(&mut answer, 0, SETTINGS, 0, 0);
        frame_head(&mut answer, 1, HEADERS, END_HEADERS, 1);
        answer.push(0x88);
        frame_head(&mut answer, 4, DATA, END_STREAM, 1);
        answer.extend_from_slice(b"xxxx");
        for cut in 0..answer.len() {
            let (mut session, mut tally, mut out) = (Session::new(), Tally::default(), Vec::new());
            assert_eq!(session.read(&answer[..cut], &mut out, &mut tally), Ok(0));
            assert_eq!(session.read(&answer[cut..], &mut out, &mut tally), Ok(1));
            assert_eq!(
                (tally.requests, tally.non200, out.len()),
                (1, 0, FRAME_HEAD)
            );
        }
    }
}
