//! Queries reach the upstream byte for byte, whatever printable characters they hold.

use std::io::Write;

use crate::support::eventually::eventually;
use crate::support::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Outcome, block, get};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::{misbehaving, read_head};

const ROUTES: &str = "      - { match: { prefix: /protected }, require: mtls, upstream: api }
      - { match: { prefix: / }, require: none, upstream: api }";

/// An upstream that answers with the request line that it got.
fn mirror() -> String {
    misbehaving(|mut stream, mut head| {
        while let Some(line) = head.lines().next() {
            let text = line.to_owned();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            );
            let _ = stream.write_all(answer.as_bytes());
            head = read_head(&mut stream);
        }
    })
}

#[test]
fn every_printable_character_of_a_query_is_forwarded_as_it_came() {
    let gateway = Gateway::start(&config(&mirror(), ROUTES));
    let printable: String = (b'!'..=b'~')
        .filter(|byte| *byte != b'#')
        .map(char::from)
        .collect();
    for query in [
        "symbols=[\"A\",\"B\"]",
        "a=<b>&c=`d`",
        "filter={\"x\":1}|^\\",
        "\"",
        printable.as_str(),
        "name=caf\u{e9}\u{4f60}\"",
        "a?b=c?\"d\"",
    ] {
        let target = format!("/x?{query}");
        let mut connection = gateway.stranger().connect();
        for _ in 0..2 {
            connection.send(format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
            let answer = connection.answer();
            assert_eq!(
                (answer.status, answer.text()),
                (200, format!("GET {target} HTTP/1.1"))
            );
        }
        let log = gateway.access_log();
        assert!(
            log.iter().all(|line| line["path"] != target.as_str()),
            "no query is logged"
        );
    }
    for query in [
        "symbols=[\"A\",\"B\"]",
        "a=<b>&c=`d`",
        "\"",
        printable.as_str(),
        "name=caf\u{e9}\"",
    ] {
        let target = format!("/x?{query}");
        let mut frames = Frames::open(&gateway.stranger());
        for stream in [1, 3] {
            frames.send(
                HEADERS,
                END_HEADERS | END_STREAM,
                stream,
                &block(&get(&target)),
            );
            assert_eq!(frames.outcome(stream), Outcome::Answered(200), "{target}");
            let body = loop {
                let frame = frames.receive().unwrap();
                if frame.kind == DATA && frame.stream == stream && !frame.payload.is_empty() {
                    break frame.payload;
                }
            };
            assert_eq!(
                String::from_utf8_lossy(&body),
                format!("GET {target} HTTP/1.1")
            );
        }
    }
    let mut absolute = gateway.stranger().connect();
    absolute
        .send(format!("GET https://{HOST}/x?\"y\" HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
    assert_eq!(absolute.answer().text(), "GET /x?\"y\" HTTP/1.1");
}

/// Quotes are no way around a route, and nothing that ends a request line goes on.
#[test]
fn what_breaks_a_request_line_stays_refused() {
    let gateway = Gateway::start(&config(&mirror(), ROUTES));
    for target in [
        "/x?a b",
        "/x?\"a\" HTTP/1.1\r\nX: y",
        "/x?a\tb",
        "/x?\"\0",
        "/x?\"\u{7f}",
        "/x?\"#/protected",
        "/x\"#?",
        "x?\"",
        "\"/x",
        "//\"@evil.test/x",
    ] {
        let mut connection = gateway.stranger().connect();
        let request = format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        let _ = connection.try_send(request.as_bytes());
        let answer = connection.answer();
        let split = target.contains("\r\n");
        assert!(answer.status == 400 || split, "{target:?}: {answer:?}");
        assert!(!answer.text().contains("evil"), "{target:?}");
    }
    for target in ["/protected?\"", "/%70rotected?<>", "/protected/\"?x"] {
        let mut connection = gateway.stranger().connect();
        connection.send(format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
        assert_eq!(connection.answer().reason(), "cert_missing", "{target}");
    }
    let long = format!("/x?\"{}", "a".repeat(20_000));
    let mut connection = gateway.stranger().connect();
    connection.send(format!("GET {long} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
    assert_eq!(connection.answer().reason(), "uri_too_long");
    let mut latin = gateway.stranger().connect();
    latin.send(
        &[
            b"GET /x?\xe9 HTTP/1.1\r\nHost: ",
            HOST.as_bytes(),
            b"\r\n\r\n",
        ]
        .concat(),
    );
    assert_eq!(latin.answer().status, 400, "not UTF-8");
}

/// The library would reset these streams, or cut them, before anybody is asked.
#[test]
fn a_target_that_is_refused_over_http2_has_an_answer_and_an_access_line() {
    let gateway = Gateway::start(&config(&mirror(), ROUTES));
    for (target, rule, shown) in [
        ("/h2/a?a b", "control", "/h2/a"),
        ("/h2/b?a\r\nX: y", "control", "/h2/b"),
        ("/h2/c?\"#/protected", "fragment", "/h2/c"),
        ("/h2#x", "fragment", "/h2#x"),
        ("/h2 x", "control", "/h2 x"),
        ("h2", "start", "h2"),
        ("https://evil.test/h2", "start", "https://evil.test/h2"),
    ] {
        let mut frames = Frames::open(&gateway.stranger());
        frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&get(target)));
        assert_eq!(frames.outcome(1), Outcome::Answered(400), "{target:?}");
        let line = eventually("the refusal is logged", || {
            let log = gateway.access_log();
            log.into_iter().find(|line| line["path"] == shown)
        });
        assert_eq!(line["reason"], "path_invalid", "{target:?}");
        assert!(line["cause"].as_str().unwrap().starts_with(rule), "{line}");
    }
    let mut frames = Frames::open(&gateway.stranger());
    frames.send(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &block(&get("/protected?\"x\"")),
    );
    assert_eq!(
        frames.outcome(1),
        Outcome::Answered(401),
        "a quote is no way around"
    );
}
