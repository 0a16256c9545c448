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
    let malformed = (400, "request_malformed");
    let lines = |method_and_target: &str, more: &str| {
        format!("{method_and_target} HTTP/1.1\r\nHost: api.example.test\r\n{more}")
    };
    let post = |more: &str| lines("POST /a", more);
    let chunked = |body: &str| post(&format!("Transfer-Encoding: chunked\r\n\r\n{body}"));
    let smuggled = lines("GET /smuggled", "\r\n");
    for (hostile, expected) in [
        (
            post(&format!(
                "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            )),
            malformed,
        ),
        (
            post("Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
            malformed,
        ),
        (
            post("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
            malformed,
        ),
        (
            post("Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
            malformed,
        ),
        (
            post("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
            malformed,
        ),
        (post("Content-Length: +3\r\n\r\nabc"), malformed),
        (post("Content-Length: 0x3\r\n\r\nabc"), malformed),
        (
            post("Content-Length: 99999999999999999999\r\n\r\nabc"),
            malformed,
        ),
        (chunked("3\nabc\n0\n\n"), malformed),
        (chunked("zz\r\nabc\r\n0\r\n\r\n"), malformed),
        (chunked("3\r\nabcd\r\n0\r\n\r\n"), malformed),
        (lines("GET /a", " folded: x\r\n\r\n"), malformed),
        (lines("GET /a", "A\0: x\r\n\r\n"), malformed),
        (lines("GET /a", "A: x\ry\r\n\r\n"), malformed),
        (lines("GET  /a", "\r\n"), malformed),
        (
            "GET /a HTTP/1.1\nHost: api.example.test\n\n".to_owned(),
            malformed,
        ),
        (
            "GET /a HTTP/1.2\r\nHost: api.example.test\r\n\r\n".to_owned(),
            malformed,
        ),
        ("GET /a\r\n\r\n".to_owned(), malformed),
        ("\0\x01\x02\x03\r\n\r\n".to_owned(), malformed),
        (
            "\r\n\r\nGET /a HTTP/1.1\r\nHost: api.example.test\r\n\r\n".to_owned(),
            malformed,
        ),
        (
            "CONNECT elsewhere.test:22 HTTP/1.1\r\nHost: elsewhere.test:22\r\n\r\n".to_owned(),
            malformed,
        ),
        (lines("OPTIONS *", "\r\n"), (400, "path_invalid")),
        (
            lines("TRACE /a", "Authorization: Bearer secret\r\n\r\n"),
            (405, "method_unknown"),
        ),
    ] {
        let mut connection = raw(&gateway, hostile.as_bytes());
        let answer = connection.answer();
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            expected,
            "{hostile}"
        );
        let line = gateway.record_of(answer.header("x-request-id").unwrap());
        assert_eq!(line["reason"], expected.1, "{hostile}");
        if expected == malformed {
            assert_eq!(answer.header("connection"), Some("close"), "{hostile}");
            assert!(
                connection.try_answer().is_none(),
                "a second answer: {hostile}"
            );
        }
        assert_eq!(
            gateway.stranger().get("/honest").status,
            200,
            "after {hostile}"
        );
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
