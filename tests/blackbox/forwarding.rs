//! What passes between a partner and an upstream, in both directions.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::support::client::Connection;
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config, config_with};
use crate::support::pki::{self, Stranger};
use crate::support::process::run;
use crate::support::upstream::{Away, Echo, misbehaving, saying};

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api, upgrades: true }";

#[test]
fn bodies_are_streamed_both_ways() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN));
    let mut connection = gateway.stranger().connect();
    connection.send(b"POST /stream HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    // The answer's head and first piece arrive while the request is still being sent.
    let mut seen = String::new();
    while !seen.contains("first") {
        seen.push_str(&String::from_utf8_lossy(&connection.read_exact(1)));
    }
    assert!(seen.starts_with("HTTP/1.1 200"));
    connection.send(b"6\r\nsecond\r\n0\r\n\r\n");
    let mut rest = String::new();
    while !rest.contains("0\r\n\r\n") {
        rest.push_str(&String::from_utf8_lossy(&connection.read_exact(1)));
    }
    assert!(rest.contains("second"));
}

#[test]
fn large_bodies_pass_whole() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN));
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let answer = gateway.stranger().post("/stream", &[], &body);
    assert!(answer.body == body, "{} bytes came back", answer.body.len());
    assert_eq!(
        gateway.stranger().get("/bytes/3000000").body.len(),
        3_000_000
    );
    let over_h2 = gateway.stranger().over_h2(
        vec![("/stream".to_owned(), Bytes::from(body.clone()))],
        &[],
        |builder| builder.method("POST"),
    );
    assert!(over_h2[0].body == body);
}

#[test]
fn trailers_are_kept() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN));
    let answer = gateway
        .stranger()
        .get_h2("/trailers", &[("te", "trailers")]);
    assert_eq!(
        (answer.status, answer.header("grpc-status")),
        (200, Some("0"))
    );
}

#[test]
fn upstreams_may_speak_http2() {
    let echo = Echo::start();
    let text = config(&echo.url(), OPEN).replace("] }\nhosts", "], protocol: http2 }\nhosts");
    let gateway = Gateway::start(&text);
    for answer in [
        gateway.stranger().get("/x?y"),
        gateway.stranger().get_h2("/x?y", &[]),
    ] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["version"], "HTTP/2.0");
    }
    assert_eq!(
        gateway
            .stranger()
            .get_h2("/trailers", &[("te", "trailers")])
            .header("grpc-status"),
        Some("0")
    );
}

#[test]
fn an_upstreams_certificate_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Stranger::new(dir.path(), "inside", "/CN=Inside");
    let made = pki::request(dir.path(), "backend");
    let good = authority.sign(
        &made,
        "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth",
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut server = std::process::Command::new("openssl")
        .args(["s_server", "-quiet", "-www", "-accept", &port.to_string()])
        .args([
            "-cert",
            good.to_str().unwrap(),
            "-key",
            made.key.to_str().unwrap(),
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the upstream listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let upstreams = format!(
        "{OPEN}
      - {{ match: {{ prefix: /wrong-name }}, require: none, upstream: wrong-name }}
      - {{ match: {{ prefix: /wrong-ca }}, require: none, upstream: wrong-ca }}
      - {{ match: {{ prefix: /named }}, require: none, upstream: named }}
      - {{ match: {{ prefix: /misnamed }}, require: none, upstream: misnamed }}"
    );
    let ca = authority.certificate();
    let ca = ca.to_str().unwrap();
    let text = config(&format!("https://localhost:{port}"), &upstreams).replace(
        "] }\nhosts",
        &format!(
            "], tls: {{ ca: {ca} }} }}
  wrong-name: {{ endpoints: [\"https://127.0.0.1:{port}\"], tls: {{ ca: {ca} }} }}
  wrong-ca: {{ endpoints: [\"https://localhost:{port}\"] }}
  named: {{ endpoints: [\"https://127.0.0.1:{port}\"], tls: {{ ca: {ca}, server_name: localhost }} }}
  misnamed: {{ endpoints: [\"https://localhost:{port}\"], tls: {{ ca: {ca}, server_name: other.test }} }}
hosts"
        ),
    );
    let gateway = Gateway::start(&text);
    let answers: Vec<(u16, String)> = ["/", "/named", "/wrong-name", "/wrong-ca", "/misnamed"]
        .map(|path| gateway.stranger().get(path))
        .map(|answer| (answer.status, answer.reason()))
        .into();
    let _ = server.kill();
    let _ = server.wait();
    assert_eq!((answers[0].0, answers[1].0), (200, 200), "{answers:?}");
    let refused = (502, "upstream_tls".to_owned());
    assert_eq!(answers[2..], [refused.clone(), refused.clone(), refused]);
}

#[test]
fn an_upstream_that_is_away_is_502_and_one_that_sleeps_504() {
    let away = Away::start();
    let gateway = Gateway::start(&config(&away.url(), OPEN));
    let answer = gateway.stranger().get("/");
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (502, "upstream_unreachable")
    );
    let sleeping = misbehaving(|_stream, _head| std::thread::park());
    let text = config(&sleeping, OPEN)
        .replace("] }\nhosts", "], timeouts: { first_byte: 500ms } }\nhosts");
    let gateway = Gateway::start(&text);
    let answer = gateway.stranger().get("/");
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (504, "upstream_timeout")
    );
}

#[test]
fn an_upstream_that_talks_nonsense_is_502_and_nothing_of_it_passes() {
    for answer in [
        &b"nonsense\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, identity\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nsmuggled",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\nContent-Length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"",
    ] {
        let gateway = Gateway::start(&config(&saying(answer), OPEN));
        let got = gateway.stranger().get("/");
        assert_eq!(
            (got.status, got.reason().as_str()),
            (502, "upstream_failed"),
            "{}",
            String::from_utf8_lossy(answer)
        );
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_passed_off_as_whole() {
    let gateway = Gateway::start(&config(
        &saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        OPEN,
    ));
    let mut connection = gateway.stranger().connect();
    connection.send(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    assert!(connection.try_answer().is_none());
    let gateway = Gateway::start(&config(
        &saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        OPEN,
    ));
    let mut connection = gateway.stranger().connect();
    connection.send(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    let answer = connection.try_answer();
    assert!(
        connection.is_closed_within(Duration::from_secs(5)),
        "{answer:?}"
    );
}

/// A gateway whose upstream keeps a connection for a second request, and ends it when a third one comes. Two requests
/// have gone over the connection, so that the endpoint was seen to keep it, and a POST goes over it too.
fn before_a_dead_connection(opened: &Arc<AtomicUsize>) -> (Gateway, Connection) {
    let count = Arc::clone(opened);
    let upstream = misbehaving(move |mut stream, _| {
        count.fetch_add(1, Ordering::SeqCst);
        for _ in 0..2 {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            let _ = crate::support::upstream::read_head(&mut stream);
        }
    });
    let text = config(&upstream, OPEN).replace("workers: 2", "workers: 1");
    let gateway = Gateway::start(&text);
    let mut connection = gateway.stranger().connect();
    for _ in 0..2 {
        assert_eq!(connection.get("/").status, 200);
    }
    (gateway, connection)
}

const POST: &str = "POST / HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 4\r\n\r\n";

#[test]
fn a_dead_pooled_connection_is_retried_for_idempotent_requests_only() {
    let opened = Arc::new(AtomicUsize::new(0));
    let (_gateway, mut connection) = before_a_dead_connection(&opened);
    // Head and body together: an answer that comes before the body may end the connection.
    connection.send(format!("{POST}once").as_bytes());
    assert_eq!(connection.answer().status, 502, "a POST is not sent twice");
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    for _ in 0..3 {
        assert_eq!(
            connection.get("/").status,
            200,
            "retried on a fresh connection"
        );
    }
    assert_eq!(opened.load(Ordering::SeqCst), 3);
}

#[test]
fn an_answer_before_the_body_says_what_becomes_of_the_connection() {
    let opened = Arc::new(AtomicUsize::new(0));
    let (_gateway, mut connection) = before_a_dead_connection(&opened);
    connection.send(POST.as_bytes());
    let early = connection.answer();
    assert_eq!(early.status, 502);
    let ends = early.header("connection") == Some("close");
    let _ = connection.try_send(b"late");
    if ends {
        assert!(connection.is_closed_within(Duration::from_secs(10)));
    } else {
        assert_eq!(connection.get("/").status, 200);
    }
}

#[test]
fn connections_to_an_upstream_are_kept() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN).replace("workers: 2", "workers: 1"));
    let mut connection = gateway.stranger().connect();
    for _ in 0..20 {
        assert_eq!(connection.get("/").status, 200);
    }
    assert_eq!((echo.requests(), echo.connections()), (20, 1));
}

#[test]
fn expectations_are_met_before_the_body() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN));
    let mut connection = gateway.stranger().connect();
    connection.send(b"POST /x HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(connection.read_exact(25), b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.send(b"body");
    let answer = connection.answer();
    assert_eq!(
        (answer.status, answer.json()["body"].as_str()),
        (200, Some("body"))
    );
    let refused = Gateway::start(&config(
        &echo.url(),
        "      - { match: { prefix: / }, require: mtls, upstream: api }",
    ));
    let mut connection = refused.stranger().connect();
    connection.send(b"POST /x HTTP/1.1\r\nHost: api.example.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(
        connection.answer().status,
        401,
        "refused without asking for the body"
    );
}

#[test]
fn upgrades_are_tunnelled_where_a_route_allows_them() {
    let echo = Echo::start();
    let routes =
        format!("{OPEN}\n      - {{ match: {{ prefix: /no }}, require: none, upstream: api }}");
    let gateway = Gateway::start(&config(&echo.url(), &routes));
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let mut tunnel = gateway.stranger().connect();
    let answer = tunnel.request("GET", "/ws", &upgrade, b"");
    assert_eq!(
        (answer.status, answer.header("upgrade")),
        (101, Some("websocket"))
    );
    for message in [&b"hello"[..], b"again", &[0; 1000]] {
        tunnel.send(message);
        assert_eq!(tunnel.read_exact(message.len()), message);
    }
    let refused = gateway
        .stranger()
        .connect()
        .request("GET", "/no/ws", &upgrade, b"");
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (400, "upgrade_refused")
    );
    let h2c = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
    ];
    let plain = gateway
        .stranger()
        .connect()
        .request("GET", "/ws", &h2c, b"");
    assert_eq!(plain.status, 200, "an offer that is passed over");
}

#[test]
fn an_upstream_sees_our_client_certificate_when_it_is_given_one() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Stranger::new(dir.path(), "inside", "/CN=Inside");
    let server = pki::request(dir.path(), "backend");
    let server_pem = authority.sign(
        &server,
        "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth",
    );
    let ours = pki::request(dir.path(), "gate");
    let ours_pem = authority.sign(&ours, "extendedKeyUsage=clientAuth");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let ca = authority.certificate();
    let ca = ca.to_str().unwrap();
    let mut process = std::process::Command::new("openssl")
        .args([
            "s_server",
            "-quiet",
            "-www",
            "-Verify",
            "2",
            "-verify_return_error",
            "-accept",
            &port.to_string(),
            "-CAfile",
            ca,
        ])
        .args([
            "-cert",
            server_pem.to_str().unwrap(),
            "-key",
            server.key.to_str().unwrap(),
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the upstream listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    let (cert, key) = (ours_pem.to_str().unwrap(), ours.key.to_str().unwrap());
    let with = format!(
        "], tls: {{ ca: {ca}, client_cert: {cert}, client_key: \"${{file:{key}}}\" }} }}\nhosts"
    );
    let gateway = Gateway::start(
        &config(&format!("https://localhost:{port}"), OPEN).replace("] }\nhosts", &with),
    );
    let without = format!("], tls: {{ ca: {ca} }} }}\nhosts");
    let bare = Gateway::start(
        &config(&format!("https://localhost:{port}"), OPEN).replace("] }\nhosts", &without),
    );
    let statuses = (
        gateway.stranger().get("/").status,
        bare.stranger().get("/").status,
    );
    let _ = process.kill();
    let _ = process.wait();
    assert_eq!(statuses, (200, 502));
}

#[test]
fn curl_is_served_over_both_protocols() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config_with(
        &echo.url(),
        "      - { match: { prefix: / }, require: mtls, upstream: api }",
        "",
    ));
    let acme = gateway.enrol("acme");
    let resolve = format!("api.example.test:{}:127.0.0.1", gateway.partners().port());
    let url = format!(
        "https://api.example.test:{}/v1?x=1",
        gateway.partners().port()
    );
    for version in ["--http1.1", "--http2"] {
        let args = [
            "-sS",
            version,
            "--resolve",
            &resolve,
            "--cacert",
            "ca.pem",
            "--cert",
            acme.certificate.to_str().unwrap(),
            "--key",
            acme.key.to_str().unwrap(),
            "-d",
            "hello",
            &url,
        ];
        let told = run(gateway.dir(), "curl", &args).json();
        assert_eq!(
            (told["body"].as_str(), told["target"].as_str()),
            (Some("hello"), Some("/v1?x=1")),
            "{version}"
        );
    }
}

/// Promises a body of so many bytes, and sends so many of them, four times a second one; gives the answer.
fn trickle(gateway: &Gateway, promised: usize, sent: usize) -> (u16, String) {
    let mut connection = gateway.stranger().connect();
    let head = format!("POST /x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {promised}\r\n\r\n");
    connection.send(head.as_bytes());
    for _ in 0..sent {
        #[expect(clippy::disallowed_methods, reason = "a client that takes its time")]
        std::thread::sleep(Duration::from_millis(250));
        connection.send(b"x");
    }
    let answer = connection.answer();
    (answer.status, answer.reason())
}

#[test]
fn how_slowly_a_body_may_come_is_the_operators_to_say() {
    let echo = Echo::start();
    let paced = |pace: &str| {
        let timeouts = format!("\"127.0.0.1:0\", timeouts: {{ body_pace: {pace} }} }}");
        let text = config(&echo.url(), OPEN).replacen("\"127.0.0.1:0\" }", &timeouts, 1);
        Gateway::start(&text)
    };
    let slow = paced("{ grace: 1s, bytes_per_second: 100 }");
    // Long before the body would be said to have stalled.
    assert_eq!(trickle(&slow, 40, 3), (408, "body_timeout".to_owned()));
    assert_eq!(slow.stranger().post("/x", &[], b"at once").status, 200);
    let off = paced("{ grace: 1s, bytes_per_second: 0 }");
    assert_eq!(trickle(&off, 12, 12).0, 200, "three seconds of waiting");
}

#[test]
fn a_request_is_found_in_the_log_by_the_name_that_a_trusted_hop_gave_it() {
    let echo = Echo::start();
    let text = config(&echo.url(), OPEN).replacen(
        "\"127.0.0.1:0\" }",
        "\"127.0.0.1:0\", forwarded: { trusted: [127.0.0.0/8] } }",
        1,
    );
    let gateway = Gateway::start(&text);
    for name in ["order-7/attempt=2", "0190163d-8694-739b-aea5-966c26f8ad91"] {
        let named = [("X-Request-Id", name)];
        let answer = gateway.stranger().get_with("/x", &named);
        assert_eq!(answer.header("x-request-id"), Some(name));
        let line = eventually("the access log has the hop's name", || {
            let lines = gateway.access_log().into_iter();
            lines
                .into_iter()
                .find(|line| line["hop_request_id"] == name)
        });
        assert!(line["request_id"].as_str().unwrap().starts_with("req_"));
    }
    let ours = gateway.stranger().get("/x");
    let line = gateway.record_of(ours.header("x-request-id").unwrap());
    assert!(line["hop_request_id"].is_null(), "{line}");
}
