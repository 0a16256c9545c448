//! Streams that run: for as long as what let them in, and as quietly as their route allows.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::{Connection, Partner};
use crate::support::eventually::eventually;
use crate::support::frames::{
    self, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Outcome, RST_STREAM, WINDOW_UPDATE,
};
use crate::support::gateway::{Gateway, HOST, config, config_with};
use crate::support::upstream::{Echo, misbehaving};

const ROUTES: &str = "      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: /token }, require: token, upstream: api }
      - { match: { prefix: / }, require: none, upstream: api }";

/// How long what the tests show is valid.
const TTL: Duration = Duration::from_secs(3);

/// An API whose answers begin at once, come piece by piece and never end; it takes whatever it is sent.
fn endless() -> String {
    misbehaving(|mut stream, head| {
        let mut rest = stream.try_clone().unwrap();
        std::thread::spawn(move || while matches!(rest.read(&mut [0; 4096]), Ok(1..)) {});
        if head.starts_with("POST") {
            // An upload is not answered before it ends.
            let _ = stream.set_read_timeout(None);
            while stream.take_error().is_ok_and(|error| error.is_none())
                && stream.write(b"").is_ok()
            {
                pause(Duration::from_mins(1));
            }
            return;
        }
        let (framing, piece) = if head.contains("/length") {
            ("Content-Length: 1000000", "x")
        } else {
            ("Transfer-Encoding: chunked", "1\r\nx\r\n")
        };
        let mut sent = write!(stream, "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
        while sent.is_ok() {
            sent = stream.write_all(piece.as_bytes());
            pause(Duration::from_millis(20));
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "somebody who takes his time")]
fn pause(span: Duration) {
    std::thread::sleep(span);
}

struct Scene {
    gateway: Gateway,
    partner: Partner,
}

impl Scene {
    fn new() -> Self {
        let text = config(&endless(), ROUTES).replace("tokens: {", "tokens: { ttl: 3s,");
        let gateway = Gateway::start(&text);
        gateway.cli_json(&["app", "create", "acme"]);
        let partner = gateway.stranger();
        Self { gateway, partner }
    }

    /// A credential that ends soon, for the path.
    fn credential(&self, path: &str) -> String {
        if path.starts_with("/token") {
            let (id, secret) = self.gateway.key("acme", &[]);
            return self.partner.token(&id, &secret);
        }
        let args = ["key", "create", "--app", "acme", "--expires", "3s"];
        let made = self.gateway.cli_json(&args);
        made["secret"].as_str().unwrap().to_owned()
    }

    fn record(&self, path: &str) -> Value {
        eventually("it is written down", || {
            let log = self.gateway.access_log();
            log.into_iter().find(|line| line["path"] == path)
        })
    }
}

fn head(method: &str, path: &str, credential: &str, lines: &str) -> Vec<u8> {
    let bearer = format!("Authorization: Bearer {credential}");
    format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{bearer}\r\n{lines}\r\n").into_bytes()
}

/// Everything until the connection ends, and whether it ended in order.
fn rest(connection: &mut Connection) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match connection.read(&mut piece) {
            Ok(0) => return (all, true),
            Ok(length) => all.extend(&piece[..length]),
            Err(_) => return (all, false),
        }
    }
}

#[test]
fn a_download_ends_with_what_let_it_in_and_does_not_look_whole() {
    let scene = Scene::new();
    for (path, reason) in [
        ("/token/chunked", "token_expired"),
        ("/token/length", "token_expired"),
        ("/key/chunked", "key_expired"),
    ] {
        let credential = scene.credential(path);
        let mut connection = scene.partner.connect();
        let began = Instant::now();
        connection.send(&head("GET", path, &credential, ""));
        let (all, in_order) = rest(&mut connection);
        assert!(began.elapsed() < TTL * 3, "{path}: {:?}", began.elapsed());
        let text = String::from_utf8(all).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{path}: {text}");
        assert!(!text.contains("\r\n0\r\n"), "{path}: the last chunk");
        assert!(!in_order, "{path}: a goodbye");
        assert_eq!(scene.record(path)["reason"], reason, "{path}");
    }
}

#[test]
fn a_stream_of_http2_ends_with_what_let_it_in_and_not_its_connection() {
    let scene = Scene::new();
    let token = scene.credential("/token");
    let mut frames = Frames::open(&scene.partner);
    let mut get = frames::get("/token/chunked");
    get.push((
        b"authorization".to_vec(),
        format!("Bearer {token}").into_bytes(),
    ));
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &frames::block(&get));
    assert_eq!(frames.outcome(1), Outcome::Answered(200));
    loop {
        let frame = frames.receive().expect("the connection goes on");
        match frame.kind {
            DATA => assert!(frame.stream == 1),
            RST_STREAM => break,
            _ => {}
        }
    }
    assert_eq!(scene.record("/token/chunked")["reason"], "token_expired");
    let open = frames::block(&frames::get("/open/chunked"));
    frames.send(HEADERS, END_STREAM | END_HEADERS, 3, &open);
    assert_eq!(frames.outcome(3), Outcome::Answered(200));
}

#[test]
fn an_upload_ends_with_what_let_it_in_and_its_client_is_told() {
    let scene = Scene::new();
    for (path, said, recorded) in [
        ("/token/busy", "token_expired", "token_expired"),
        ("/key/busy", "credential_invalid", "key_expired"),
        ("/token/quiet", "token_expired", "token_expired"),
    ] {
        let credential = scene.credential(path);
        let mut connection = scene.partner.connect();
        let began = Instant::now();
        connection.send(&head(
            "POST",
            path,
            &credential,
            "Transfer-Encoding: chunked\r\n",
        ));
        while path.ends_with("busy") && began.elapsed() < TTL + Duration::from_secs(1) {
            if connection.try_send(b"1\r\nx\r\n").is_err() {
                break;
            }
            pause(Duration::from_millis(50));
        }
        let answer = connection.answer();
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (401, said),
            "{path}"
        );
        assert!(began.elapsed() < TTL * 3, "{path}: {:?}", began.elapsed());
        assert_eq!(scene.record(path)["reason"], recorded, "{path}");
    }
}

const LISTENER: &str =
    "\"127.0.0.1:0\", timeouts: { body: 1s, body_pace: { grace: 1s, bytes_per_second: 100 } } }";

/// A call like a client stream of gRPC: pieces with pauses, and an answer at its end.
fn quiet_call(partner: &Partner, path: &str) -> u16 {
    let mut connection = partner.connect();
    connection.send(&head(
        "POST",
        path,
        "none",
        "Transfer-Encoding: chunked\r\n",
    ));
    for _ in 0..2 {
        if connection.try_send(b"5\r\nhello\r\n").is_err() {
            break;
        }
        pause(Duration::from_millis(2500));
    }
    let _ = connection.try_send(b"0\r\n\r\n");
    connection.answer().status
}

#[test]
fn a_route_has_times_of_its_own_for_bodies() {
    let echo = Echo::start();
    let routes = "      - { match: { prefix: /calls }, require: none, upstream: api, timeouts: { body: 30s, body_pace: { bytes_per_second: 0 } } }
      - { match: { prefix: /pauses }, require: none, upstream: api, timeouts: { body: 30s } }
      - { match: { prefix: /slowly }, require: none, upstream: api, timeouts: { body_pace: { bytes_per_second: 0 } } }
      - { match: { prefix: / }, require: none, upstream: api }";
    let text = config(&echo.url(), routes);
    let gateway = Gateway::start(&text.replacen("\"127.0.0.1:0\" }", LISTENER, 1));
    for (path, status) in [
        ("/calls", 200),
        ("/pauses", 408),
        ("/slowly", 408),
        ("/", 408),
    ] {
        assert_eq!(quiet_call(&gateway.stranger(), path), status, "{path}");
    }
}

#[test]
fn a_stream_that_is_held_is_cut_and_its_connection_serves_on() {
    let echo = Echo::start();
    let routes = "      - { match: { prefix: /patient }, require: none, upstream: api, timeouts: { body: 30s } }
      - { match: { prefix: / }, require: none, upstream: api }";
    let text = config(&echo.url(), routes);
    let gateway = Gateway::start(&text.replacen("\"127.0.0.1:0\" }", LISTENER, 1));
    let mut frames = Frames::open_with(&gateway.stranger(), &[(4, 1000)]);
    let whole = END_STREAM | END_HEADERS;
    for (stream, path) in [(1, "/bytes/3000000"), (3, "/patient/bytes/3000000")] {
        frames.send(HEADERS, whole, stream, &frames::block(&frames::get(path)));
    }
    let mut reset = None;
    while reset.is_none() {
        let frame = frames.receive().expect("the connection goes on");
        if frame.kind == RST_STREAM {
            reset = Some((frame.stream, frame.payload));
        }
    }
    assert_eq!(
        reset,
        Some((1, vec![0, 0, 0, 8])),
        "CANCEL, and only this one"
    );
    frames.send(HEADERS, whole, 5, &frames::block(&frames::get("/small")));
    assert_eq!(frames.outcome(5), Outcome::Answered(200));
    // The other one goes on when its client does.
    frames.send(WINDOW_UPDATE, 0, 3, &1000_u32.to_be_bytes());
    loop {
        let frame = frames.receive().expect("more of the other stream");
        assert_ne!(frame.kind, RST_STREAM);
        if frame.kind == DATA && frame.stream == 3 {
            break;
        }
    }
}

/// Asks for much on many streams, opens every window, and reads nothing.
fn deaf(gateway: &Gateway, streams: u32) -> Frames {
    let mut frames = Frames::open_with(&gateway.stranger(), &[(4, 0x7fff_ffff)]);
    frames.send(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]);
    let block = frames::block(&frames::get("/bytes/2000000"));
    for n in 0..streams {
        frames.send(HEADERS, END_STREAM | END_HEADERS, n * 2 + 1, &block);
    }
    frames
}

#[test]
fn a_client_that_reads_nothing_costs_no_more_however_many_streams_it_opens() {
    let echo = Echo::start();
    let routes = "      - { match: { prefix: / }, require: none, upstream: api }";
    for (bounds, streams, most) in [
        ("streams_max: 500", 128, 16 << 20),
        ("streams_max: 500", 500, 16 << 20),
        // 500 streams cost about 6 MiB besides their answers.
        ("streams_max: 500, unsent_bytes_max: 1MiB", 500, 10 << 20),
    ] {
        let text = config_with(&echo.url(), routes, "");
        let listener = format!("\"127.0.0.1:0\", http: {{ {bounds} }} }}");
        let text = text.replacen("\"127.0.0.1:0\" }", &listener, 1);
        let text = text.replace("workers: 2", "workers: 1");
        let gateway = Gateway::start(&text);
        assert_eq!(gateway.stranger().get("/").status, 200);
        let before = gateway.resident();
        let asked = echo.requests();
        let connections = [(); 4].map(|()| deaf(&gateway, streams));
        let mut last = 0;
        eventually("as much is held as will be", || {
            let now = gateway.resident();
            pause(Duration::from_millis(500));
            let changed = std::mem::replace(&mut last, now).abs_diff(now);
            (changed < 64 << 10).then_some(())
        });
        assert!(echo.requests() > asked, "something is being answered");
        let each = last.saturating_sub(before) / connections.len() as u64;
        assert!(
            each <= most,
            "{bounds}, {streams} streams: {each} bytes a connection"
        );
        let own = gateway.stranger().get("/.well-known/countersign/ca.pem");
        assert_eq!(own.status, 200, "an honest client is answered");
    }
}
