//! A drain in the middle of work: each kind of it finishes, and its client learns that the connection ends.

use std::time::Duration;

use crate::support::client::{Connection, Partner, WEBSOCKET};
use crate::support::eventually::eventually;
use crate::support::frames::{
    self, ACK, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, RST_STREAM,
    WINDOW_UPDATE,
};
use crate::support::gateway::{Gateway, HOST, config, draining};
use crate::support::upstream::{Echo, Held};

const ROUTES: &str =
    "      - { match: { prefix: /mtls }, require: mtls, upstream: api, upgrades: true }
      - { match: { prefix: / }, require: none, upstream: api, upgrades: true }";

const WHOLE: u8 = END_STREAM | END_HEADERS;
/// Longer than the end of a drain takes after its last request.
const MOMENTS: Duration = Duration::from_secs(10);
/// The length of an upload, sent in two halves.
const UPLOAD: usize = 300_000;
/// More than the buffers between the upstream and a client that does not read.
const DOWNLOAD: usize = 40_000_000;
/// More than a stream's window.
const STREAMED: usize = 200_000;

fn start(upstream: &str) -> Gateway {
    Gateway::start(&draining(&config(upstream, ROUTES), "delay: 1ms"))
}

/// Stops it, and waits until only running requests are left.
fn stop(gateway: &Gateway) {
    gateway.signal("TERM");
    gateway.wait_until_closed();
}

/// Nothing was cut, and the process has ended.
#[track_caller]
fn drained(mut gateway: Gateway) {
    assert_eq!(gateway.wait(MOMENTS), Some(0), "it ends");
    let log = gateway.log();
    assert!(log.contains("drained requests_cut=0"), "{log}");
    let refused = |line: &serde_json::Value| line["reason"] == "draining";
    assert!(!gateway.access_log().iter().any(refused));
}

fn arrived(echo: &Echo, requests: u64) {
    eventually("the requests are at the upstream", || {
        (echo.requests() >= requests).then_some(())
    });
}

/// The beginning of an upload with this framing, and what puts a piece of its body into the framing.
type Framing = (&'static str, fn(&[u8]) -> Vec<u8>, &'static [u8]);

fn chunk(piece: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()
}

#[test]
fn an_upload_is_read_to_its_end() {
    let framings: [Framing; 2] = [
        ("Content-Length: 300000", <[u8]>::to_vec, b""),
        ("Transfer-Encoding: chunked", chunk, b"0\r\n\r\n"),
    ];
    for (line, framed, end) in framings {
        let echo = Echo::start();
        let gateway = start(&echo.url());
        let mut connection = gateway.stranger().connect();
        let half = framed(&vec![b'x'; UPLOAD / 2]);
        connection.send(format!("POST /up HTTP/1.1\r\nHost: {HOST}\r\n{line}\r\n\r\n").as_bytes());
        connection.send(&half);
        arrived(&echo, 1);
        stop(&gateway);
        connection.send(&half);
        connection.send(end);
        let answer = connection.answer();
        assert_eq!(answer.json()["body_bytes"], UPLOAD, "{line}");
        assert_eq!(answer.header("connection"), Some("close"), "{line}");
        assert_eq!(connection.count_to_goodbye(), Some(0), "{line}");
        drained(gateway);
    }
}

#[test]
fn a_slow_reader_gets_all_of_a_large_answer() {
    let echo = Echo::start();
    let gateway = start(&echo.url());
    let mut connection = gateway.stranger().connect();
    let path = format!("/bytes/{DOWNLOAD}");
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
    arrived(&echo, 1);
    let first = connection.read_exact(1000);
    let head = String::from_utf8_lossy(&first);
    let body = head.split_once("\r\n\r\n").unwrap().1.len();
    stop(&gateway);
    let running = gateway.count("countersign_http_requests_in_flight");
    assert_eq!(running, 1, "it is still being sent");
    // The head of the answer was sent before anyone knew of the drain; the close is a goodbye all the same.
    assert_eq!(connection.count_to_goodbye(), Some(DOWNLOAD - body));
    drained(gateway);
}

#[test]
fn a_tunnel_lives_until_its_client_leaves() {
    let echo = Echo::start();
    let gateway = start(&echo.url());
    let mut tunnel = gateway.stranger().connect();
    assert_eq!(tunnel.request("GET", "/ws", &WEBSOCKET, b"").status, 101);
    let mut frames = Frames::open(&gateway.stranger());
    let connect = frames::fields(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/ws"),
        ("sec-websocket-version", "13"),
    ]);
    frames.send(HEADERS, END_HEADERS, 1, &frames::block(&connect));
    assert_eq!(frames.outcome(1), frames::Outcome::Answered(200));
    stop(&gateway);
    let mut seen = Seen::default();
    for said in [b"hello", b"again"] {
        tunnel.send(said);
        assert_eq!(tunnel.read_exact(said.len()), said);
        let before = seen.bytes[0];
        frames.send(DATA, 0, 1, said);
        seen.read(&mut frames, |seen| seen.bytes[0] == before + said.len());
    }
    assert_eq!(gateway.count("countersign_tunnels"), 2);
    drop(tunnel);
    frames.send(DATA, END_STREAM, 1, b"");
    let rest = frames.until_end();
    assert!(
        rest.iter().all(|frame| frame.kind != RST_STREAM),
        "{rest:?}"
    );
    drained(gateway);
}

/// The last stream of a GOAWAY frame, and its code.
fn goaway(frame: &Frame) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
    (number(0) & 0x7fff_ffff, number(4))
}

/// What has come of each stream, and the GOAWAY frames.
#[derive(Debug, Default)]
struct Seen {
    /// Bytes of streams 1, 3, 5 and 7.
    bytes: [usize; 4],
    ended: Vec<u32>,
    words: Vec<(u32, u32)>,
}

impl Seen {
    /// Reads until `enough`; answers pings, and lets what was read come again.
    #[track_caller]
    fn read(&mut self, frames: &mut Frames, enough: impl Fn(&Self) -> bool) {
        while !enough(self) {
            let frame = frames.receive().unwrap_or_else(|| panic!("over: {self:?}"));
            self.take(frames, &frame);
        }
    }

    /// Reads until the connection ends, which it does with a goodbye.
    #[track_caller]
    fn read_to_end(&mut self, frames: &mut Frames) {
        while let Some(frame) = frames.receive() {
            self.take(frames, &frame);
        }
        assert_eq!(frames.connection.count_to_goodbye(), Some(0), "{self:?}");
    }

    #[track_caller]
    fn take(&mut self, frames: &mut Frames, frame: &Frame) {
        match frame.kind {
            PING if frame.flags & ACK == 0 => {
                frames.send(PING, ACK, 0, &frame.payload);
            }
            GOAWAY => self.words.push(goaway(frame)),
            RST_STREAM => panic!("{frame:?} {self:?}"),
            DATA => {
                self.bytes[frame.stream as usize / 2] += frame.payload.len();
                let taken = u32::try_from(frame.payload.len()).unwrap();
                if taken > 0 {
                    frames.send(WINDOW_UPDATE, 0, 0, &taken.to_be_bytes());
                }
            }
            _ => {}
        }
        if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
            self.ended.push(frame.stream);
        }
    }
}

fn post(path: &str) -> Vec<u8> {
    let mut fields = frames::get(path);
    fields[0].1 = b"POST".to_vec();
    frames::block(&fields)
}

/// A call that flows both ways, an upload, and a download that waits for its window, beside each other.
#[test]
fn every_open_stream_of_a_connection_finishes_and_no_new_one_begins() {
    const MESSAGE: &[u8] = &[b'm'; 1000];
    let echo = Echo::start();
    let gateway = start(&echo.url());
    let mut frames = Frames::open(&gateway.stranger());
    let mut seen = Seen::default();
    frames.send(HEADERS, END_HEADERS, 1, &post("/stream"));
    frames.send(DATA, 0, 1, MESSAGE);
    seen.read(&mut frames, |seen| seen.bytes[0] == MESSAGE.len());
    frames.send(HEADERS, END_HEADERS, 3, &post("/up"));
    frames.send(DATA, 0, 3, MESSAGE);
    let download = frames::block(&frames::get(&format!("/bytes/{STREAMED}")));
    frames.send(HEADERS, WHOLE, 5, &download);
    seen.read(&mut frames, |seen| seen.bytes[2] == 65_535);
    arrived(&echo, 3);
    gateway.signal("TERM");
    // First the word that there is an end, and after a round trip the one that says where.
    seen.read(&mut frames, |seen| seen.words.len() == 2);
    assert_eq!(seen.words, [(0x7fff_ffff, 0), (5, 0)]);
    gateway.wait_until_closed();
    frames.send(HEADERS, WHOLE, 7, &frames::block(&frames::get("/late")));
    for _ in 0..3 {
        let before = seen.bytes[0];
        frames.send(DATA, 0, 1, MESSAGE);
        seen.read(&mut frames, |seen| seen.bytes[0] == before + MESSAGE.len());
    }
    frames.send(WINDOW_UPDATE, 0, 5, &1_000_000_u32.to_be_bytes());
    seen.read(&mut frames, |seen| seen.ended.contains(&5));
    frames.send(DATA, END_STREAM, 3, MESSAGE);
    seen.read(&mut frames, |seen| seen.ended.contains(&3));
    frames.send(DATA, END_STREAM, 1, b"");
    seen.read(&mut frames, |seen| seen.ended.contains(&1));
    assert_eq!(
        (seen.bytes[0], seen.bytes[2]),
        (4 * MESSAGE.len(), STREAMED)
    );
    assert_eq!((seen.bytes[3], echo.requests()), (0, 3), "nothing of /late");
    assert_eq!(frames.connection.count_to_goodbye(), Some(0));
    drained(gateway);
}

#[test]
fn idle_connections_get_a_goodbye() {
    let echo = Echo::start();
    let gateway = start(&echo.url());
    let mut kept: Vec<Connection> = (0..4).map(|_| gateway.stranger().connect()).collect();
    for connection in kept.iter_mut().skip(2) {
        assert_eq!(connection.get("/").status, 200);
    }
    let mut streams: Vec<Frames> = (0..4).map(|_| Frames::open(&gateway.stranger())).collect();
    let block = frames::block(&frames::get("/bytes/0"));
    for frames in streams.iter_mut().skip(2) {
        frames.send(HEADERS, WHOLE, 1, &block);
        assert_eq!(frames.outcome(1), frames::Outcome::Answered(200));
    }
    stop(&gateway);
    for connection in &mut kept {
        assert_eq!(connection.count_to_goodbye(), Some(0));
    }
    for frames in &mut streams {
        let mut seen = Seen::default();
        seen.read_to_end(frames);
        assert!(!seen.words.is_empty());
        assert!(seen.words.iter().all(|(_, code)| *code == 0), "{seen:?}");
    }
    drained(gateway);
}

/// A client learns by the close that the second request was not begun, and may send it elsewhere.
#[test]
fn of_requests_in_a_row_only_those_that_are_answered_reach_the_upstream() {
    let held = Held::start();
    let gateway = start(held.url());
    let mut connection = gateway.stranger().connect();
    let requests = format!("GET /first HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
        + &format!("GET /second HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    connection.send(requests.as_bytes());
    held.wait_for(1);
    stop(&gateway);
    held.answer();
    let answer = connection.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(connection.count_to_goodbye(), Some(0));
    assert_eq!(held.arrived(), 1);
    drained(gateway);
}

/// A head that has begun to come is a request on its way.
#[test]
fn a_request_whose_head_has_begun_is_answered() {
    let echo = Echo::start();
    let gateway = start(&echo.url());
    let mut kept = gateway.stranger().connect();
    assert_eq!(kept.get("/").status, 200);
    let mut fresh = gateway.stranger().connect();
    for connection in [&mut kept, &mut fresh] {
        connection.send(format!("GET /half HTTP/1.1\r\nHost: {HOST}\r\n").as_bytes());
    }
    // It has read what came before this answer.
    assert_eq!(gateway.stranger().get("/").status, 200);
    stop(&gateway);
    for connection in [&mut kept, &mut fresh] {
        connection.send(b"\r\n");
        let answer = connection.answer();
        assert_eq!(answer.json()["target"], "/half");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    drained(gateway);
}

/// An operator is heard until the end: what is revoked does not live on because the gateway drains.
#[test]
fn a_credential_that_is_revoked_ends_what_runs_by_it() {
    let echo = Echo::start();
    let gateway = start(&echo.url());
    let tunnel_of = |partner: &Partner| {
        let mut tunnel = partner.connect();
        let switched = tunnel.request("GET", "/mtls/ws", &WEBSOCKET, b"");
        assert_eq!(switched.status, 101);
        tunnel
    };
    let (revoked, other) = (gateway.enrol("acme"), gateway.enrol("other"));
    let (mut ends, mut lives) = (tunnel_of(&revoked.partner), tunnel_of(&other.partner));
    stop(&gateway);
    gateway.cli_json(&["cert", "revoke", &revoked.id, "--yes"]);
    assert!(ends.is_closed_within(MOMENTS));
    lives.send(b"hello");
    assert_eq!(lives.read_exact(5), b"hello");
    drop(lives);
    let mut gateway = gateway;
    assert_eq!(gateway.wait(MOMENTS), Some(0));
}
