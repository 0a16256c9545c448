//! Answers of ordinary upstreams that are not as tidy as the RFC's examples reach their callers.

use std::future::poll_fn;
use std::io::Write;
use std::sync::Arc;

use crate::support::client::Answer;
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::{misbehaving, read_head};

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// A gateway with one worker, before an upstream that answers each request with these bytes.
fn before(answer: impl Into<Vec<u8>>, settings: &str) -> Gateway {
    let answer: Arc<[u8]> = answer.into().into();
    let upstream = misbehaving(move |mut stream, mut head| {
        while !head.is_empty() && stream.write_all(&answer).is_ok() {
            head = read_head(&mut stream);
        }
    });
    let text = config(&upstream, OPEN).replace("workers: 2", "workers: 1");
    let endpoints = format!("endpoints: [\"{upstream}\"]");
    Gateway::start(&text.replace(&endpoints, &format!("{endpoints}, {settings}")))
}

const SOON: &str = "timeouts: { first_byte: 2s, idle: 2s }";

fn both(gateway: &Gateway) -> [Answer; 2] {
    let partner = gateway.stranger();
    [partner.get("/orders"), partner.get_h2("/orders", &[])]
}

#[test]
fn blanks_before_a_colon_and_behind_a_size_are_read() {
    for answer in [
        "HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX-A\t: 1\r\nContent-Length : 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nX-A  :1\r\nTransfer-Encoding : chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n5 ;a=b\r\nhello\r\n0 \r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\t\r\nhe\r\n3  \r\nllo\r\n0\r\nX-Sum : 7\r\n\r\n",
    ] {
        let gateway = before(answer, SOON);
        for _ in 0..2 {
            for got in both(&gateway) {
                assert_eq!(
                    (got.status, got.text().as_str()),
                    (200, "hello"),
                    "{answer:?}"
                );
                assert_eq!(got.header("x-a"), Some("1"), "{answer:?}");
            }
        }
    }
}

/// What is taken away changes nothing about which fields frame an answer.
#[test]
fn blanks_do_not_split_answers() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\nContent-Length: 0\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : gzip\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: 1\r\n Content-Length : 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\n Content-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length \r\n: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n \r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent Length : 0\r\n\r\n",
    ] {
        let gateway = before(format!("{answer}{poison}"), SOON);
        for got in both(&gateway) {
            assert_eq!(
                (got.status, got.reason().as_str()),
                (502, "upstream_failed"),
                "{answer:?}"
            );
        }
    }
    for body in [
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5 \nhello\r\n0\r\n\r\n",
        "5\r \nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n X : 1\r\n\r\n",
    ] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let gateway = before(format!("{head}{body}{poison}"), SOON);
        let mut connection = gateway.stranger().connect();
        connection.send(format!("GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
        let mut text = Vec::new();
        let mut piece = [0_u8; 1024];
        while let Ok(read @ 1..) = connection.read(&mut piece) {
            text.extend(&piece[..read]);
            if text.ends_with(b"\"}") {
                break;
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains("poison"), "{body:?}: {text}");
        assert!(!text.contains("\r\n0\r\n\r\n"), "{body:?}: {text}");
    }
}

fn with_fields(count: usize) -> String {
    let fields: Vec<_> = (0..count).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let fields = fields.concat();
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\nhello")
}

fn with_bytes(count: usize) -> String {
    let value = "v".repeat(count);
    format!("HTTP/1.1 200 OK\r\nX-Large: {value}\r\nContent-Length: 5\r\n\r\nhello")
}

#[test]
fn many_fields_and_large_heads_are_read_within_bounds() {
    for answer in [
        with_fields(101),
        with_fields(200),
        with_fields(500),
        with_bytes(70 << 10),
        with_bytes(120 << 10),
    ] {
        let got = before(answer, SOON).stranger().get("/orders");
        assert_eq!((got.status, got.text().as_str()), (200, "hello"));
        assert!(got.headers.len() > 100 || got.header("x-large").is_some());
    }
    for answer in [with_fields(520), with_bytes(130 << 10)] {
        let got = before(answer, SOON).stranger().get("/orders");
        assert_eq!(got.reason(), "upstream_failed");
    }
}

#[test]
fn an_upstream_has_bounds_of_its_own() {
    let large = "http: { header_bytes_max: 512KiB, headers_max: 2000 }";
    for answer in [with_fields(1900), with_bytes(400 << 10)] {
        let got = before(answer, large).stranger().get("/orders");
        assert_eq!(got.status, 200);
    }
    let small = "http: { header_bytes_max: 1KiB, headers_max: 10 }";
    for (answer, expected) in [
        (with_fields(9), 200),
        (with_fields(10), 502),
        (with_bytes(900), 200),
        (with_bytes(1024), 502),
    ] {
        assert_eq!(
            before(answer, small).stranger().get("/orders").status,
            expected
        );
    }
}

#[test]
fn interim_answers_do_not_count_against_the_result() {
    let result = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    for (interim, times) in [
        ("HTTP/1.1 102 Processing\r\n\r\n", 9),
        (
            "HTTP/1.1 102 Processing\r\nDate: Sat, 28 Nov 2026 00:00:00 GMT\r\n\r\n",
            1000,
        ),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
            40,
        ),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 Odd\r\n\r\n", 100),
    ] {
        let gateway = before(format!("{}{result}", interim.repeat(times)), SOON);
        for got in both(&gateway) {
            assert_eq!(
                (got.status, got.text().as_str()),
                (200, "hello"),
                "{interim:?}"
            );
        }
    }
}

#[test]
fn interim_answers_without_end_end_the_exchange() {
    let fast = misbehaving(|mut stream, _| {
        while stream
            .write_all(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
            .is_ok()
        {}
    });
    let slow = misbehaving(|mut stream, _| {
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").is_ok() {
            #[expect(clippy::disallowed_methods, reason = "an upstream's own thread")]
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    for (upstream, reason) in [(fast, "upstream_failed"), (slow, "upstream_timeout")] {
        let endpoints = format!("endpoints: [\"{upstream}\"]");
        let text = config(&upstream, OPEN).replace(&endpoints, &format!("{endpoints}, {SOON}"));
        let gateway = Gateway::start(&text);
        for got in both(&gateway) {
            assert_eq!(got.reason(), reason);
        }
    }
}

/// The interim answers that a caller over HTTP/2 gets before the final one: status and fields.
fn hinted(gateway: &Gateway) -> (Vec<http::Response<()>>, u16) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut sender = gateway.stranger().streams().await.ready().await.unwrap();
        let request = http::Request::get(format!("https://{HOST}/page"))
            .body(())
            .unwrap();
        let (mut answer, _) = sender.send_request(request, true).unwrap();
        let mut interim = Vec::new();
        while let Some(Ok(hints)) = poll_fn(|cx| answer.poll_informational(cx)).await {
            interim.push(hints);
        }
        (interim, answer.await.unwrap().status().as_u16())
    })
}

#[test]
fn early_hints_reach_callers_over_http_2_and_no_others() {
    let hints = "HTTP/1.1 102 Processing\r\nX-Job: 1\r\n\r\n\
        HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink : </b.js>; rel=preload\r\n\
        X-Countersign-App-Id: forged\r\nConnection: x-private\r\nX-Private: 1\r\nKeep-Alive: timeout=9\r\n\
        Content-Length: 7\r\n\r\n";
    let result = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let gateway = before(format!("{hints}{result}"), SOON);
    let (interim, status) = hinted(&gateway);
    assert_eq!(status, 200);
    assert_eq!(interim.len(), 1, "{interim:?}");
    assert_eq!(interim[0].status(), 103);
    let fields: Vec<_> = interim[0].headers().iter().collect();
    assert_eq!(fields.len(), 2, "{fields:?}");
    let links = interim[0].headers().get_all("link").iter();
    assert_eq!(
        links.map(|link| &link.as_bytes()[..7]).collect::<Vec<_>>(),
        [b"</a.css", b"</b.js>"]
    );

    let mut connection = gateway.stranger().connect();
    connection.send(format!("GET /page HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
    assert_eq!(connection.read_exact(12), b"HTTP/1.1 200");
}

#[test]
fn more_hints_than_any_page_needs_are_dropped() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(1000);
    let result = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let (interim, status) = hinted(&before(format!("{hints}{result}"), SOON));
    assert_eq!((interim.len(), status), (16, 200));
}

#[test]
fn a_switch_that_nobody_asked_for_stays_refused() {
    for before_it in ["", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"] {
        for fields in [
            "",
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
            "Connection : upgrade\r\nUpgrade : websocket\r\n",
        ] {
            let answer = format!("{before_it}HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
            for got in both(&before(answer, SOON)) {
                assert_eq!(got.reason(), "upstream_failed");
            }
        }
    }
}
