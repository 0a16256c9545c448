//! Operators see what fails at an upstream: where, by which cause, and in the library's words; partners see none of it.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, config};
use crate::support::pki::{self, Stranger};
use crate::support::upstream::{Away, Secured, misbehaving, saying};

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

fn before(url: &str, settings: &str) -> Gateway {
    let endpoints = format!("endpoints: [\"{url}\"]");
    let timeouts = "timeouts: { connect: 2s, first_byte: 1s, idle: 1s }";
    let text = config(url, OPEN).replace(&endpoints, &format!("{endpoints}, {timeouts}{settings}"));
    Gateway::start(&text.replace("workers: 2", "workers: 1"))
}

/// Asks once, and finds the cause in the access line, the log and the metrics, and not in the answer.
#[track_caller]
fn check(url: &str, settings: &str, cause: &str) {
    let gateway = before(url, settings);
    let got = gateway.stranger().get("/orders");
    assert!([502, 504].contains(&got.status), "{cause}: {got:?}");
    // With its colon: a request id may hold the digits.
    let port = &url[url.rfind(':').unwrap()..];
    let told = format!("{:?} {}", got.headers, got.text());
    for inside in [cause, port, "endpoint", "configuration", "upstreams."] {
        assert!(!told.contains(inside), "{inside}: {told}");
    }
    let line = gateway.record_of(got.header("x-request-id").unwrap());
    assert_eq!(
        (line["cause"].as_str(), line["endpoint"].as_str()),
        (Some(cause), Some(url)),
        "{line}"
    );
    let log = gateway.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("an upstream failed"))
        .collect();
    assert_eq!(lines.len(), 1, "{log}");
    for word in ["WARN", cause, url, "held_back", "error"] {
        assert!(lines[0].contains(word), "{word}: {}", lines[0]);
    }
    let counted = gateway.count_of(
        "countersign_upstream_failures_total",
        &format!("cause=\"{cause}\",upstream=\"api\""),
    );
    assert!(counted >= 1, "{cause}");
}

#[test]
fn a_connection_that_cannot_be_opened_has_its_cause() {
    check(&Away::start().url(), "", "connect_refused");
    check("http://no-such-name.invalid:80", "", "name_unknown");
    // It takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    check(&format!("https://localhost:{port}"), "", "connect_timeout");
}

#[test]
fn a_handshake_that_fails_has_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Stranger::new(dir.path(), "api-ca", "/CN=the API's authority");
    let other = Stranger::new(dir.path(), "other", "/CN=another authority").certificate();
    let made = pki::request(dir.path(), "api");
    let certificate = authority.sign(&made, "subjectAltName=DNS:localhost");
    let server = Secured::start(&certificate, &made.key);
    let trusting = |ca: &Path, more: &str| format!(", tls: {{ ca: \"{}\"{more} }}", ca.display());
    check(&server.url(), &trusting(&other, ""), "tls_untrusted");
    let ca = authority.certificate();
    check(
        &server.url(),
        &trusting(&ca, ", server_name: other.test"),
        "tls_name",
    );
    check(&plain(), &trusting(&ca, ""), "tls_not_spoken");
    let http1_only = ", protocol: http2";
    check(
        &server.url(),
        &(trusting(&ca, "") + http1_only),
        "tls_no_http2",
    );
}

/// A port that answers TLS in plain HTTP, as https addresses of plain servers do.
fn plain() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    format!("https://localhost:{port}")
}

#[test]
fn an_answer_that_cannot_be_read_has_its_cause() {
    let large: &[u8] = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000))
        .leak()
        .as_bytes();
    let many: &[u8] = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(600))
        .leak()
        .as_bytes();
    for (answer, cause) in [
        (&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..], "answer_two_transfer_encodings"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "answer_transfer_encoding_unknown"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "answer_length_and_chunked"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "answer_lengths_differ"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello", "answer_length_invalid"),
        (b"HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n", "answer_field_invalid"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "answer_not_http"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "answer_switch_unasked"),
        (large, "answer_head_too_large"),
        (many, "answer_fields_too_many"),
        (b"", "closed_before_answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "closed_before_answer"),
    ] {
        check(&saying(answer), "", cause);
    }
}

#[test]
fn an_answer_that_does_not_come_has_its_cause() {
    let silent = misbehaving(|stream, _| {
        let mut stream = stream;
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    check(&silent, "", "answer_timeout");
}

#[test]
fn an_answer_that_breaks_off_has_its_cause() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for (rest, cause) in [("", "closed_in_answer"), ("zz\r\n", "answer_chunk_invalid")] {
        let upstream = misbehaving(move |mut stream, _| {
            let _ = stream.write_all(format!("{head}{rest}").as_bytes());
        });
        let gateway = before(&upstream, "");
        let mut connection = gateway.stranger().connect();
        connection.send(b"GET /orders HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
        let _ = connection.try_answer();
        let line = eventually("the access line says why", || {
            gateway
                .access_log()
                .into_iter()
                .find(|line| line["path"] == "/orders")
        });
        assert_eq!(
            (line["cause"].as_str(), line["endpoint"].as_str()),
            (Some(cause), Some(&*upstream)),
            "{line}"
        );
    }
}

#[test]
fn many_failures_are_one_warning_and_all_are_counted() {
    let upstream =
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello");
    let gateway = before(&upstream, "");
    let mut connection = gateway.stranger().connect();
    for _ in 0..50 {
        assert_eq!(connection.get("/orders").status, 502);
    }
    let warnings = gateway.log().matches("an upstream failed").count();
    assert!((1..=3).contains(&warnings), "{warnings}");
    assert_eq!(gateway.count("countersign_upstream_failures_total"), 50);
}
