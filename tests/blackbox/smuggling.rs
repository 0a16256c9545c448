//! One request stays one request, and bounds hold against whoever sends too much, too slowly or too long.

use std::time::Duration;

use crate::support::client::Connection;
use crate::support::gateway::{Gateway, config};
use crate::support::upstream::Echo;

const OPEN: &str =
    "      - { match: { prefix: /small }, require: none, body_max: 10B, upstream: api }
      - { match: { prefix: / }, require: none, upstream: api }";

fn gateway(echo: &Echo) -> Gateway {
    let timeouts = "\"127.0.0.1:0\", timeouts: { handshake: 2s, first_request: 2s, header: 2s, keep_alive: 2s, body: 1s } }";
    Gateway::start(&config(&echo.url(), OPEN).replacen("\"127.0.0.1:0\" }", timeouts, 1))
}

fn raw(gateway: &Gateway, bytes: &[u8]) -> Connection {
    let mut connection = gateway.stranger().connect();
    connection.send(bytes);
    connection
}

#[test]
fn nothing_hides_a_second_request() {
    let echo = Echo::start();
    let gateway = gateway(&echo);
    for hostile in [
        &b"POST /a HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: api.example.test\r\n\r\n"[..],
        b"POST /a HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /a HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: +3\r\n\r\nabc",
        b"POST /a HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 0x3\r\n\r\nabc",
        b"POST /a HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
        b"POST /a HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
        b"POST /a HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: api.example.test\r\n folded: x\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: api.example.test\r\nA\0: x\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: api.example.test\r\nA: x\ry\r\n\r\n",
        b"GET  /a HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
        b"GET /a HTTP/1.2\r\nHost: api.example.test\r\n\r\n",
        b"GET /a\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"CONNECT elsewhere.test:22 HTTP/1.1\r\nHost: elsewhere.test:22\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
        b"TRACE /a HTTP/1.1\r\nHost: api.example.test\r\nAuthorization: Bearer secret\r\n\r\n",
    ] {
        let shown = String::from_utf8_lossy(hostile).into_owned();
        let before = echo.requests();
        let mut connection = raw(&gateway, hostile);
        let answer = connection.try_answer();
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        let harmless = status == 200 && echo.requests() == before + 1;
        assert!(harmless || status == 0 || (400..500).contains(&status), "{status}: {shown}");
        let second = connection.try_answer().map_or(0, |answer| answer.status);
        assert_ne!(second, 200, "a second answer: {shown}");
        assert_eq!(gateway.stranger().get("/honest").status, 200, "after {shown}");
    }
    let log = gateway.access_log();
    assert!(
        log.iter().all(|line| line["path"] != "/smuggled"),
        "{log:?}"
    );
}

#[test]
fn a_refused_request_leaves_nothing_that_becomes_the_next_one() {
    let echo = Echo::start();
    let gateway = gateway(&echo);
    let mut connection = raw(
        &gateway,
        b"POST /small HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 60\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: api.example.test\r\n\r\n__________",
    );
    let answer = connection.answer();
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (413, "body_too_large")
    );
    assert!(
        connection
            .try_answer()
            .is_none_or(|next| next.status != 200)
    );
    assert_eq!(echo.requests(), 0);
    assert_eq!(
        gateway.stranger().post("/small", &[], b"0123456789").status,
        200
    );
    let mut chunked = raw(
        &gateway,
        b"POST /small HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n",
    );
    assert_eq!(chunked.answer().status, 413);
}

#[test]
fn too_much_head_is_refused() {
    let echo = Echo::start();
    let gateway = gateway(&echo);
    let long = "x".repeat(200_000);
    let many = (0..500).fold(String::new(), |text, n| text + &format!("X-N{n}: 1\r\n"));
    for (head, expected) in [
        (
            format!("GET /{long} HTTP/1.1\r\nHost: api.example.test\r\n\r\n"),
            &[414, 431][..],
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: api.example.test\r\nX-Long: {long}\r\n\r\n"),
            &[431],
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: api.example.test\r\n{many}\r\n"),
            &[431],
        ),
        (
            format!(
                "GET /{} HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
                "y".repeat(20_000)
            ),
            &[414],
        ),
    ] {
        let mut connection = gateway.stranger().connect();
        let _ = connection.try_send(head.as_bytes());
        let status = connection.try_answer().map_or(0, |answer| answer.status);
        assert!(expected.contains(&status), "{status} for {}…", &head[..40]);
    }
    assert_eq!(echo.requests(), 0);
    assert_eq!(gateway.stranger().get("/").status, 200);
}

#[test]
fn who_sends_nothing_or_too_slowly_is_let_go() {
    let echo = Echo::start();
    let gateway = gateway(&echo);
    let patience = Duration::from_secs(8);
    let mut idle = gateway.stranger().connect();
    assert!(idle.is_closed_within(patience), "no first request");
    let mut kept = gateway.stranger().connect();
    assert_eq!(kept.get("/").status, 200);
    assert!(kept.is_closed_within(patience), "no next request");
    let mut half = raw(&gateway, b"GET / HTTP/1.1\r\nHost: api");
    let answer = half.try_answer();
    assert!(
        answer.as_ref().is_none_or(|answer| answer.status == 408),
        "{answer:?}"
    );
    let mut stalled = raw(
        &gateway,
        b"POST / HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 10\r\n\r\nhalf",
    );
    let answer = stalled.answer();
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (408, "body_timeout")
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let sender = gateway.stranger().h2().await;
        let begun = std::time::Instant::now();
        while !sender.is_closed() && begun.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(sender.is_closed(), "http/2 without a request");
    });
    assert_eq!(gateway.stranger().get("/").status, 200);
}

#[test]
fn connections_of_one_address_are_bounded() {
    let echo = Echo::start();
    let bounded = "\"127.0.0.1:0\", connections_per_address: 4 }";
    let gateway =
        Gateway::start(&config(&echo.url(), OPEN).replacen("\"127.0.0.1:0\" }", bounded, 1));
    let held: Vec<Connection> = (0..4).map(|_| gateway.stranger().connect()).collect();
    assert!(gateway.stranger().try_connect("api.example.test").is_err());
    drop(held);
    crate::support::eventually::eventually("there is room again", || {
        gateway
            .stranger()
            .try_connect("api.example.test")
            .ok()
            .map(|mut connection| assert_eq!(connection.get("/").status, 200))
    });
}
