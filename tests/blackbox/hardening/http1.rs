//! HTTP/1: framing, tricks with heads, and clients that take their time.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{Siege, numbered, request, shown};
use crate::support::client::Connection;
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::{misbehaving, read_head};

#[test]
fn framing_that_two_readers_read_in_two_ways_is_refused() {
    let siege = Siege::new();
    let smuggled = format!("0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for lines in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding\r\n: chunked\r\n",
        "Transfer\0-Encoding: chunked\r\n",
        "Content-Length:\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5;x\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: -0\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        ": x\r\nContent-Length: 5\r\n",
        " Content-Length: 5\r\n",
        "X: y\rContent-Length: 5\r\n",
        "X: y\0z\r\nContent-Length: 5\r\n",
        "X\u{b}: y\r\nContent-Length: 5\r\n",
    ] {
        let before = siege.echo.requests();
        let mut connection = siege.raw(&request("POST", "/a", lines, &smuggled));
        let answer = connection.answer();
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (400, "request_malformed"),
            "{lines:?}"
        );
        assert!(connection.try_answer().is_none(), "a second: {lines:?}");
        assert_eq!(siege.echo.requests(), before, "{lines:?}");
        siege.honest(lines);
    }
    let log = siege.gateway.access_log();
    assert!(
        log.iter().all(|line| line["path"] != "/smuggled"),
        "{log:?}"
    );
}

#[test]
fn chunks_are_read_strictly_and_a_bad_one_is_the_callers_fault() {
    let siege = Siege::new();
    let zeros = "0".repeat(1 << 20);
    let extension = "x".repeat(40 << 10);
    let many = "1;abcdefgh\r\nx\r\n".repeat(20_000);
    let trailers = "X-Trailer: 1\r\n".repeat(20_000);
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabcXX0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "-1\r\nabc\r\n0\r\n\r\n",
        " \r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        "3;a\rb\r\nabc\r\n0\r\n\r\n",
        "0000000000000003\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\nZ: w\r\n\r\n",
        "3\r\nabc\r\n0\r\n folded\r\n\r\n",
        &format!("3;{extension}\r\nabc\r\n0\r\n\r\n"),
        &format!("{many}0\r\n\r\n"),
        &format!("3\r\nabc\r\n0\r\n{trailers}\r\n"),
        &format!("{zeros}3\r\nabc\r\n0\r\n\r\n"),
    ] {
        let sent = request("POST", "/a", "Transfer-Encoding: chunked\r\n", body);
        let mut connection = siege.raw(&sent);
        let answer = connection.answer();
        let shown = shown(body.as_bytes());
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (400, "request_malformed"),
            "{shown}"
        );
        assert!(connection.try_answer().is_none(), "{shown}");
        siege.honest(&shown);
    }
    for body in [
        "3\r\nabc\r\n0\r\n\r\n",
        "000000000000003\r\nabc\r\n0\r\n\r\n",
        "3;a=\"b\";c\r\nabc\r\n0\r\n\r\n",
        "1\r\na\r\n2\r\nbc\r\n0\r\nX: y\r\n\r\n",
        "3\r\nabc\r\n0\r\nContent-Length: 70\r\nHost: x\r\n\r\n",
    ] {
        let sent = request("POST", "/a", "Transfer-Encoding: chunked\r\n", body);
        let mut connection = siege.raw(&sent);
        let answer = connection.answer();
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        let told = answer.json();
        assert_eq!(told["body"], "abc");
        let trailers = told["trailers"].to_string().to_ascii_lowercase();
        assert!(
            !trailers.contains("length") && !trailers.contains("host"),
            "{told}"
        );
        // What came is understood whole, so the connection goes on.
        assert_eq!(connection.get("/next").status, 200, "{body}");
    }
}

/// The upstream reads the body as it comes, so the answer is not yet known when the bad chunk is seen.
#[test]
fn a_bad_chunk_in_a_body_that_is_being_streamed_is_400_and_not_502() {
    let siege = Siege::new();
    let mut connection = siege.raw(&request(
        "POST",
        "/a",
        "Transfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n",
    ));
    eventually("the upstream has begun to read", || {
        (siege.echo.requests() == 1).then_some(())
    });
    connection.send(b"zz\r\n");
    let answer = connection.answer();
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (400, "request_malformed")
    );
    siege.honest("a bad chunk");
}

#[test]
fn one_field_does_not_hold_thousands_of_things() {
    let siege = Siege::new();
    let cookies = "a=b; ".repeat(20_000);
    let tokens = "a, ".repeat(20_000);
    let forty = numbered(40, |n| format!("x{n}, "));
    for (line, expected) in [
        (format!("Cookie: {cookies}\r\n"), 431),
        (format!("Connection: {tokens}close\r\n"), 431),
        (format!("Connection: {forty}close\r\n"), 400),
        ("Connection: x,\r\n".repeat(40), 400),
        ("Cookie: a=b\r\n".repeat(200), 431),
    ] {
        let mut connection = siege.raw(&request("GET", "/", &line, ""));
        let status = connection.try_answer().map_or(0, |answer| answer.status);
        assert_eq!(status, expected, "{}", shown(line.as_bytes()));
        siege.honest("a crowded field");
    }
    assert_eq!(
        siege
            .stranger
            .get_with("/", &[("Cookie", "a=b; c=d")])
            .status,
        200
    );
}

#[test]
fn pipelined_requests_are_judged_one_by_one_and_answered_in_order() {
    let siege = Siege::new();
    let three = [
        request("POST", "/one", "Content-Length: 3\r\n", "abc"),
        request("GET", "/protected/two", "", ""),
        request("GET", "/three", "", ""),
    ]
    .concat();
    let mut connection = siege.raw(&three);
    assert_eq!(connection.answer().json()["target"], "/one");
    assert_eq!(connection.answer().reason(), "cert_missing");
    assert_eq!(connection.answer().json()["target"], "/three");
    let many = request("GET", "/many", "", "").repeat(500);
    let mut connection = siege.raw(&many);
    for _ in 0..500 {
        assert_eq!(connection.answer().status, 200);
    }
    siege.honest("pipelining");
}

#[test]
fn http_1_0_is_served_without_what_it_does_not_know() {
    let siege = Siege::new();
    let mut connection = siege.raw(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(connection.answer().status, 400, "no host");
    let mut connection = siege.raw(format!("GET /a HTTP/1.0\r\nHost: {HOST}\r\n\r\n").as_bytes());
    assert_eq!(connection.answer().json()["target"], "/a");
    assert!(connection.is_closed_within(Duration::from_secs(1)));
    for lines in [
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let before = siege.echo.requests();
        let sent = format!(
            "POST /a HTTP/1.0\r\nHost: {HOST}\r\n{lines}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        );
        let mut connection = siege.raw(sent.as_bytes());
        let status = connection.try_answer().map_or(0, |answer| answer.status);
        assert!(status == 0 || status == 400, "{status}: {lines:?}");
        assert!(connection.try_answer().is_none(), "{lines:?}");
        assert_eq!(siege.echo.requests(), before, "{lines:?}");
        siege.honest(lines);
    }
    let upgrade = format!(
        "GET /ws HTTP/1.0\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    let mut connection = siege.raw(upgrade.as_bytes());
    assert_ne!(connection.answer().status, 101);
    siege.honest("an upgrade of HTTP/1.0");
}

/// What is granted to HTTP/1.0 (no `Host`, no ALPN, connections that are kept) hides no request and opens no route.
#[test]
fn http_1_0_opens_nothing() {
    let siege = Siege::new();
    let host = format!("Host: {HOST}\r\n");
    let protected = format!("GET /protected HTTP/1.0\r\n{host}\r\n");
    let (malformed, invalid, missing) = ("request_malformed", "host_invalid", "cert_missing");
    for (sent, expected) in [
        (format!("GET /protected HTTP/1.0\r\n{host}\r\n"), missing),
        (
            format!("GET https://{HOST}/protected HTTP/1.0\r\n{host}\r\n"),
            missing,
        ),
        (
            format!("GET https://{HOST}/protected HTTP/1.0\r\n\r\n"),
            missing,
        ),
        (format!("GET /%70rotected HTTP/1.0\r\n{host}\r\n"), missing),
        (
            format!("GET /a HTTP/1.0\r\n{host}Host: other.test\r\n\r\n"),
            "header_invalid",
        ),
        (
            format!("GET https://other.test/a HTTP/1.0\r\n{host}\r\n"),
            invalid,
        ),
        ("GET /a HTTP/1.0\r\n\r\n".to_owned(), invalid),
        ("GET /a HTTP/1.0\r\nHost:\r\n\r\n".to_owned(), invalid),
        (
            format!(
                "POST /a HTTP/1.0\r\n{host}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"
            ),
            malformed,
        ),
        (
            format!("POST /a HTTP/1.0\r\n{host}Content-Length: 5, 5\r\n\r\nhello"),
            malformed,
        ),
        (
            format!("POST /a HTTP/1.0\r\n{host}Transfer-Encoding: identity\r\n\r\nhello"),
            malformed,
        ),
        (
            format!(
                "POST /a HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n{protected}"
            ),
            malformed,
        ),
        (format!("GET /a HTTP/1.00\r\n{host}\r\n"), malformed),
        (format!("GET /a HTTP/0.9\r\n{host}\r\n"), malformed),
        (format!("GET /a HTTP/1.0 \r\n{host}\r\n"), malformed),
        (format!("GET /a\r\n{host}\r\n"), malformed),
    ] {
        let before = siege.echo.requests();
        let mut connection = siege.raw(sent.as_bytes());
        let reason = connection.try_answer().map(|answer| answer.reason());
        let reason = reason.unwrap_or_default();
        assert!(
            reason == expected || reason == malformed,
            "{reason}: {sent:?}"
        );
        assert!(
            connection
                .try_answer()
                .is_none_or(|next| next.status != 200),
            "{sent:?}"
        );
        assert_eq!(siege.echo.requests(), before, "{sent:?}");
        siege.honest(&sent);
    }
    // What comes behind a request is a request and judged as one, or nobody reads it.
    for (lines, body) in [
        ("", ""),
        ("Connection: keep-alive\r\n", ""),
        ("Connection: close, keep-alive\r\n", ""),
        (
            "Keep-Alive: timeout=99\r\nProxy-Connection: keep-alive\r\n",
            "",
        ),
        ("Connection: keep-alive\r\nContent-Length: 0\r\n", ""),
        ("Connection: keep-alive\r\nContent-Length: 5\r\n", "hello"),
        (
            "Connection: keep-alive\r\nContent-Length: 5\r\nExpect: 100-continue\r\n",
            "hello",
        ),
    ] {
        let sent = format!("POST /a HTTP/1.0\r\n{host}{lines}\r\n{body}{protected}");
        let mut connection = siege.raw(sent.as_bytes());
        let mut bytes = Vec::new();
        let mut piece = [0_u8; 1024];
        while let Ok(read @ 1..) = connection.read(&mut piece) {
            bytes.extend(&piece[..read]);
        }
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.get(8..12) == Some(" 200"), "{sent:?}: {text}");
        assert!(!text.contains(" 100 "), "{sent:?}: {text}");
        assert!(
            !text.to_ascii_lowercase().contains("transfer-encoding"),
            "{sent:?}: {text}"
        );
        assert_eq!(text.matches(" 200 OK\r\n").count(), 1, "{sent:?}: {text}");
        assert!(
            !text.contains("\"target\":\"/protected"),
            "{sent:?}: {text}"
        );
        siege.honest(&sent);
    }
    // An answer whose length nobody knew ends with the connection, and looks like nothing else.
    let mut connection = siege.raw(
        format!("GET /trailers HTTP/1.0\r\n{host}Connection: keep-alive\r\nTE: trailers\r\n\r\n")
            .as_bytes(),
    );
    let answer = connection.answer();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "body"),
        "{answer:?}"
    );
    assert_eq!(answer.header("transfer-encoding"), None, "{answer:?}");
    // Agreed on by ALPN, it is HTTP/1 and no other protocol.
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..],
        b"\x16\x03\x01\0\x05",
    ] {
        let mut connection = siege
            .stranger
            .try_connect_offering(HOST, &["http/1.0"])
            .unwrap();
        let _ = connection.try_send(bytes);
        connection.set_patience(Duration::from_secs(8));
        let answer = connection.try_answer();
        assert!(
            answer.is_none_or(|answer| answer.status >= 400),
            "{}",
            shown(bytes)
        );
        siege.honest("bytes of another protocol");
    }
}

#[test]
fn an_upgrade_does_not_hide_a_request() {
    let siege = Siege::new();
    let handshake = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    let upgrade = &format!("Connection: upgrade\r\nUpgrade: websocket\r\n{handshake}");
    for lines in [
        format!("{upgrade}Content-Length: 5\r\n"),
        format!("{upgrade}Transfer-Encoding: chunked\r\n"),
        "Connection: upgrade\r\nUpgrade: websocket\r\n".to_owned(),
    ] {
        let mut connection = siege.raw(&request("GET", "/ws", &lines, "hello"));
        let answer = connection.answer();
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (400, "upgrade_refused"),
            "{lines:?}"
        );
        siege.honest(&lines);
    }
    // What nobody understands is passed over, and what follows is judged as requests.
    for lines in [
        format!("{upgrade}Upgrade: foo\r\n"),
        "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n".to_owned(),
        "Connection: upgrade\r\nUpgrade: H2C\r\nHTTP2-Settings: AAMAAABk\r\n".to_owned(),
        "Upgrade: h2c\r\n".to_owned(),
        "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c/1\r\n".to_owned(),
    ] {
        let hidden = [
            request("GET", "/ws", &lines, ""),
            request("GET", "/protected", "", ""),
        ];
        let mut connection = siege.raw(&hidden.concat());
        let answer = connection.answer();
        assert_eq!(answer.status, 200, "{lines:?}");
        let passed = answer.json()["headers"].to_string();
        assert!(!passed.contains("upgrade"), "{passed}");
        assert_eq!(connection.answer().reason(), "cert_missing", "{lines:?}");
        siege.honest(&lines);
    }
    assert_eq!(
        siege
            .gateway
            .access_log()
            .iter()
            .filter(|line| line["status"] == 101)
            .count(),
        0
    );
    let mut connection = siege.raw(&request("GET", "/ws", upgrade, ""));
    assert_eq!(connection.answer().status, 101);
    connection.send(b"hello");
    assert_eq!(connection.read_exact(5), b"hello");
}

/// What a client sends before the upstream has agreed is a request, if the upstream does not agree.
#[test]
fn bytes_behind_an_upgrade_that_fails_are_judged_like_any_request() {
    let upstream = misbehaving(|mut stream, head| {
        let seen = if head.contains("protected") {
            "reached"
        } else {
            "plain"
        };
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{seen}",
            seen.len()
        );
        let _ = stream.write_all(text.as_bytes());
        let _ = read_head(&mut stream);
    });
    let routes = "      - { match: { prefix: /protected }, require: mtls, upstream: api }
      - { match: { prefix: / }, require: none, upgrades: true, upstream: api }";
    let gateway = Gateway::start(&config(&upstream, routes));
    let mut connection = gateway.stranger().connect();
    let sent = [
        request(
            "GET",
            "/ws",
            "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            "",
        ),
        request("GET", "/protected", "", ""),
    ];
    connection.send(&sent.concat());
    assert_eq!(connection.answer().text(), "plain");
    let next = connection.try_answer();
    assert!(next.is_none_or(|next| next.status == 401));
    assert_eq!(gateway.stranger().get("/").text(), "plain");
}

/// What is left of a body after an early answer never becomes a request.
#[test]
fn an_early_answer_leaves_nothing_of_the_body_behind() {
    let upstream = misbehaving(|mut stream, mut head| {
        while !head.is_empty() {
            let text = if head.contains("/early") {
                "early"
            } else {
                "other"
            };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{text}");
            let _ = stream.write_all(answer.as_bytes());
            head = read_head(&mut stream);
        }
    });
    let routes = "      - { match: { prefix: / }, require: none, upstream: api }";
    let gateway = Gateway::start(&config(&upstream, routes).replace("workers: 2", "workers: 1"));
    for (lines, half, rest) in [
        (
            "Content-Length: 100\r\n",
            "half",
            request("GET", "/smuggled", "", ""),
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "4\r\nhalf\r\n",
            [b"64\r\n", request("GET", "/smuggled", "", "").as_slice()].concat(),
        ),
        (
            "Content-Length: 100\r\nExpect: 100-continue\r\n",
            "",
            request("GET", "/smuggled", "", ""),
        ),
    ] {
        let mut connection = gateway.stranger().connect();
        connection.set_patience(Duration::from_secs(8));
        connection.send(&request("POST", "/early", lines, half));
        assert_eq!(connection.answer().text(), "early", "{lines:?}");
        let _ = connection.try_send(&rest);
        let _ = connection.try_send(&[b'_'; 200]);
        let next = connection.try_answer().map_or(0, |answer| answer.status);
        assert_ne!(next, 200, "{lines:?}");
        assert_eq!(
            gateway.stranger().get("/honest").text(),
            "other",
            "{lines:?}"
        );
    }
    let log = gateway.access_log();
    assert!(
        log.iter().all(|line| line["path"] != "/smuggled"),
        "{log:?}"
    );
}

#[test]
fn one_host_however_it_is_written_and_no_other() {
    let siege = Siege::new();
    for (target, host) in [
        ("/protected", "API.Example.Test"),
        ("/protected", "api.example.test."),
        ("/protected", "api.example.test:8443"),
        ("https://api.example.test/protected", HOST),
        ("HTTPS://API.EXAMPLE.TEST/protected", HOST),
        ("http://api.example.test/protected", HOST),
    ] {
        let mut connection =
            siege.raw(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let status = connection.try_answer().map_or(0, |answer| answer.status);
        assert!(status == 401 || status == 400, "{status}: {target} {host}");
        siege.honest(host);
    }
    for (target, host) in [
        ("https://api.example.test@evil.test/", HOST),
        ("https://user@api.example.test/", HOST),
        ("/", "user@api.example.test"),
        ("/", "api.example.test, evil.test"),
        ("/", "api.example.test\tevil.test"),
        ("/", "api.example.test:x"),
        ("/", "api.example.test:443:443"),
        ("/", "[api.example.test]"),
        ("/", "api.example.test%00"),
        ("/", "api.example.test?"),
        ("/", "api.example.test#"),
        ("/", "\u{430}pi.example.test"),
        ("ftp//x", HOST),
        ("x", HOST),
    ] {
        let mut connection =
            siege.raw(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let status = connection.try_answer().map_or(0, |answer| answer.status);
        assert!((400..500).contains(&status), "{status}: {target} {host}");
        siege.honest(host);
    }
    assert!(
        siege
            .gateway
            .access_log()
            .iter()
            .all(|line| { line["status"] != 200 || line["path"] == "/honest" })
    );
}

/// Readers that look for the first `/` take what stands before it for the host. Ours ends at `?` and `#` (RFC 3986, 3.2).
#[test]
fn an_authority_with_a_query_or_a_fragment_hides_no_other_host() {
    let siege = Siege::new();
    let malformed = (400, "request_malformed");
    for (target, host, expected) in [
        ("https://api.example.test#.evil.test/x", HOST, malformed),
        ("https://api.example.test#@evil.test/x", HOST, malformed),
        ("https://api.example.test#/x", HOST, malformed),
        ("https://api.example.test#", HOST, malformed),
        ("https://evil.test#.api.example.test/x", HOST, malformed),
        ("https://evil.test#@api.example.test/x", HOST, malformed),
        ("https://#api.example.test/x", HOST, malformed),
        ("https://api.example.test?.evil.test/\"x", HOST, malformed),
        ("https://api.example.test?.b/x", HOST, malformed),
        ("https://api.example.test?x=/y", HOST, malformed),
        ("https://evil.test?.api.example.test/x", HOST, malformed),
        ("https://evil.test?@api.example.test/x", HOST, malformed),
        (
            "https://api.example.test?.evil.test/x",
            "api.example.test?.evil.test",
            malformed,
        ),
        (
            "https://api.example.test#.evil.test/x",
            "api.example.test#.evil.test",
            malformed,
        ),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = siege.raw(head.as_bytes()).answer();
        let found = (answer.status, answer.reason());
        assert_eq!((found.0, found.1.as_str()), expected, "{target} {host}");
        let line = siege
            .gateway
            .record_of(answer.header("x-request-id").unwrap());
        assert_eq!(line["reason"], expected.1, "{target} {host}");
    }
    assert_eq!(siege.echo.requests(), 0);
    siege.honest("other hosts");
}

#[test]
fn no_field_of_the_caller_says_where_a_request_goes() {
    let siege = Siege::new();
    for name in [
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Uri",
        "X-Forwarded-Prefix",
        "X-Forwarded-Path",
        "X-Forwarded-Host",
        "X-Forwarded-Method",
        "X-Forwarded-Proto",
        "X-HTTP-Method-Override",
        "X-Envoy-Original-Path",
    ] {
        let open = siege.stranger.get_with("/open", &[(name, "/protected")]);
        assert_eq!(open.json()["target"], "/open", "{name}");
        let refused = siege.stranger.get_with("/protected", &[(name, "/open")]);
        assert_eq!(refused.status, 401, "{name}");
    }
    siege.honest("fields that rewrite");
}

/// Every state in which a client may leave us waiting ends by itself, though something always comes.
#[test]
fn who_sends_drop_by_drop_is_let_go() {
    let siege = Siege::new();
    let begun = Instant::now();
    let head = siege.raw(b"GET / HTTP/1.1\r\n");
    let mut next = siege.stranger.connect();
    assert_eq!(next.get("/").status, 200);
    let chunk = siege.raw(&request("POST", "/", "Transfer-Encoding: chunked\r\n", "5"));
    let mut dripping = vec![
        ("a head", head, b"a"),
        ("the next head", next, b"G"),
        ("a chunk's size", chunk, b"0"),
    ];
    while !dripping.is_empty() {
        let late: Vec<_> = dripping.iter().map(|(what, ..)| what).collect();
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "still taken: {late:?}"
        );
        dripping.retain_mut(|(_, connection, drop)| {
            let _ = connection.try_send(*drop);
            !is_over(connection)
        });
    }
    siege.honest("drops");
}

/// Whether an answer or the end comes within a moment.
fn is_over(connection: &mut Connection) -> bool {
    connection.set_patience(Duration::from_millis(100));
    match connection.read(&mut [0_u8; 512]) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
    }
}

/// An answer that the client does not take holds what it holds only for so long.
#[test]
fn who_does_not_read_the_answer_is_let_go() {
    let siege = Siege::new();
    let mut connection = siege.raw(&request("GET", "/bytes/50000000", "", ""));
    assert_eq!(connection.read_exact(8), b"HTTP/1.1");
    eventually("its record is written", || {
        let log = siege.gateway.access_log();
        log.iter()
            .any(|line| line["path"] == "/bytes/50000000")
            .then_some(())
    });
    siege.honest("a slow reader");
}
