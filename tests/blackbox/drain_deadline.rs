//! The deadline of a drain: what is left is cut, is written down, and does not look whole to its client.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::{Connection, WEBSOCKET};
use crate::support::eventually::eventually;
use crate::support::frames::{self, DATA, END_HEADERS, END_STREAM, Frames, HEADERS};
use crate::support::gateway::{Gateway, HOST, config, draining};
use crate::support::upstream::Echo;

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api, upgrades: true }";

/// Much less than anything here would take by itself.
const MOMENTS: Duration = Duration::from_secs(10);

/// More than the buffers between the upstream and a client that does not read.
const DOWNLOAD: usize = 40_000_000;

fn head(method: &str, path: &str, line: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{line}\r\n").into_bytes()
}

/// Everything that can be open and does not end by itself.
struct Endless {
    upload: Connection,
    download: Connection,
    call: Connection,
    tunnel: Connection,
    streams: Frames,
    half_a_head: Connection,
    half_a_handshake: TcpStream,
}

/// The paths of the requests in it.
const PATHS: [&str; 6] = [
    "/upload",
    "/bytes/40000000",
    "/call/stream",
    "/tunnel",
    "/bytes/200000",
    "/h2/stream",
];

impl Endless {
    fn on(gateway: &Gateway, echo: &Echo) -> Self {
        let stranger = gateway.stranger();
        let mut upload = stranger.connect();
        upload.send(&head("POST", "/upload", "Content-Length: 1000\r\n"));
        upload.send(b"half");
        let mut download = stranger.connect();
        download.send(&head("GET", &format!("/bytes/{DOWNLOAD}"), ""));
        download.read_exact(1000);
        let mut call = stranger.connect();
        call.send(&head(
            "POST",
            "/call/stream",
            "Transfer-Encoding: chunked\r\n",
        ));
        call.send(b"4\r\nhalf\r\n");
        let mut tunnel = stranger.connect();
        let switched = tunnel.request("GET", "/tunnel", &WEBSOCKET, b"");
        assert_eq!(switched.status, 101);
        let mut streams = Frames::open(&stranger);
        let large = frames::block(&frames::get("/bytes/200000"));
        streams.send(HEADERS, END_HEADERS | END_STREAM, 1, &large);
        let endless = frames::fields(&[
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", "/h2/stream"),
        ]);
        streams.send(HEADERS, END_HEADERS, 3, &frames::block(&endless));
        streams.send(DATA, 0, 3, b"half");
        let mut half_a_head = stranger.connect();
        half_a_head.send(format!("GET /head HTTP/1.1\r\nHost: {HOST}\r\n").as_bytes());
        let mut half_a_handshake = TcpStream::connect(gateway.partners()).unwrap();
        half_a_handshake.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
        eventually("everything runs", || {
            (echo.requests() == PATHS.len() as u64).then_some(())
        });
        Self {
            upload,
            download,
            call,
            tunnel,
            streams,
            half_a_head,
            half_a_handshake,
        }
    }

    /// No client takes what it has for all that there is.
    fn are_cut(mut self) {
        assert!(
            self.upload.try_answer().is_none(),
            "an answer to half a request"
        );
        assert_eq!(self.download.count_to_goodbye(), None);
        let mut rest = Vec::new();
        let mut piece = [0; 1000];
        while let Ok(read @ 1..) = self.call.read(&mut piece) {
            rest.extend_from_slice(&piece[..read]);
        }
        let rest = String::from_utf8_lossy(&rest);
        assert!(
            rest.ends_with("4\r\nhalf\r\n"),
            "without the last chunk: {rest}"
        );
        assert!(self.tunnel.is_closed_within(MOMENTS));
        let told = self.streams.until_end();
        let whole = |frame: &frames::Frame| frame.kind == DATA && frame.flags & END_STREAM != 0;
        assert!(!told.iter().any(whole), "{told:?}");
        assert!(self.half_a_head.try_answer().is_none());
        self.half_a_handshake
            .set_read_timeout(Some(MOMENTS))
            .unwrap();
        let mut alert = Vec::new();
        let _reset = self.half_a_handshake.read_to_end(&mut alert);
        assert!(alert.len() < 10, "{alert:?}");
    }
}

#[test]
fn what_is_left_is_cut_and_leaves_one_record_each() {
    let echo = Echo::start();
    let text = draining(&config(&echo.url(), OPEN), "delay: 1ms, timeout: 1s");
    let mut gateway = Gateway::start(&text);
    let endless = Endless::on(&gateway, &echo);
    let begun = Instant::now();
    let drained = gateway.cli(&["drain", "--wait", "--output", "json"]);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{drained:?}");
    assert_eq!(drained.code, 1, "{drained:?}");
    let told: Value = serde_json::from_str(&drained.stdout).unwrap();
    assert_eq!(told["state"], "drained");
    assert_eq!(
        told["requests_cut"],
        PATHS.len(),
        "{:#?}",
        gateway.access_log()
    );
    assert_eq!(gateway.wait(MOMENTS), Some(0));
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in gateway.access_log() {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        reasons
            .entry(text("path"))
            .or_default()
            .push(text("reason"));
    }
    let expected = PATHS.map(|path| (path.to_owned(), vec!["draining".to_owned()]));
    assert_eq!(reasons, BTreeMap::from(expected));
    endless.are_cut();
}

/// Connections without a request do not hold the process until its deadline.
#[test]
fn nobody_is_waited_for_who_asks_nothing() {
    let echo = Echo::start();
    let text = draining(&config(&echo.url(), OPEN), "delay: 1ms, timeout: 5m");
    let mut gateway = Gateway::start(&text);
    let mut idle = gateway.stranger().connect();
    assert_eq!(idle.get("/").status, 200);
    let unused = gateway.stranger().connect();
    // It answers no ping, and so never says that it has heard.
    let deaf = Frames::open(&gateway.stranger());
    let silent = TcpStream::connect(gateway.partners()).unwrap();
    let half_a_head = {
        let mut connection = gateway.stranger().connect();
        connection.send(b"GET / HTTP/1.1\r\n");
        connection
    };
    gateway.signal("TERM");
    // Half a handshake has its own limit, and so has half a head.
    assert_eq!(gateway.wait(Duration::from_secs(30)), Some(0));
    assert!(gateway.log().contains("drained requests_cut=0"));
    drop((idle, unused, deaf, silent, half_a_head));
}
