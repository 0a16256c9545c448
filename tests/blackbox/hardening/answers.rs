//! Upstreams are hostile too: what they answer is read as strictly as what clients ask.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{MEMORY_MAX, numbered, request, shown};
use crate::support::client::Answer;
use crate::support::gateway::{Gateway, config};
use crate::support::upstream::{misbehaving, read_head};

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// A gateway with one worker, so that its connections to the upstream are used again, and an upstream that
/// answers `/evil` as `script` does and everything else honestly.
fn besieged(script: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Gateway {
    let upstream = misbehaving(move |mut stream, mut head| {
        while !head.is_empty() {
            if head.contains(" /evil") {
                script(&mut stream);
            } else if stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhonest")
                .is_err()
            {
                return;
            }
            head = read_head(&mut stream);
        }
    });
    let text = config(&upstream, OPEN).replace("workers: 2", "workers: 1");
    let short = format!("endpoints: [\"{upstream}\"], timeouts: {{ first_byte: 2s, idle: 1s }}");
    Gateway::start(&text.replace(&format!("endpoints: [\"{upstream}\"]"), &short))
}

fn saying(answer: impl Into<Vec<u8>>) -> Gateway {
    let answer = answer.into();
    besieged(move |stream| {
        let _ = stream.write_all(&answer);
    })
}

fn ask(gateway: &Gateway, method: &str) -> Option<Answer> {
    let mut connection = gateway.stranger().connect();
    connection.set_patience(Duration::from_secs(8));
    connection.send(&request(method, "/evil", "", ""));
    if method == "HEAD" {
        let mut head = Vec::new();
        let mut byte = [0_u8; 1];
        while !head.ends_with(b"\r\n\r\n") && connection.read(&mut byte).is_ok_and(|read| read == 1)
        {
            head.push(byte[0]);
        }
        let status = String::from_utf8_lossy(&head)
            .split(' ')
            .nth(1)?
            .parse()
            .ok()?;
        return Some(Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        });
    }
    connection.try_answer()
}

#[track_caller]
fn honest(gateway: &Gateway, after: &str) {
    let begun = Instant::now();
    for _ in 0..3 {
        let answer = gateway.stranger().get("/honest");
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "honest"),
            "after {after}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "after {after}");
    assert_eq!(gateway.count("countersign_panics_total"), 0, "{after}");
}

#[test]
fn answers_that_two_readers_read_in_two_ways_are_502() {
    let large = format!(
        "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n",
        "x".repeat(200_000)
    );
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n",
        "X: 1\r\n".repeat(2000)
    );
    let nominated = numbered(100, |n| format!("x{n},"));
    let nominated =
        format!("HTTP/1.1 200 OK\r\nConnection: {nominated}\r\nContent-Length: 0\r\n\r\n");
    let hints = format!(
        "{}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(20_000)
    );
    for answer in [
        &large,
        &many,
        &nominated,
        &hints,
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nsmuggled",
        "HTTP/1.1 101 Switching Protocols\r\n\r\nsmuggled",
        "ICY 200 OK\r\n\r\n",
        "<html>",
    ] {
        let gateway = saying(answer);
        let got = ask(&gateway, "GET").unwrap_or_else(|| panic!("{}", shown(answer.as_bytes())));
        // What never ends is a timeout, and everything else nonsense.
        let expected = got.reason() == "upstream_failed" || got.reason() == "upstream_timeout";
        assert!(expected, "{got:?} to {}", shown(answer.as_bytes()));
        honest(&gateway, &shown(answer.as_bytes()));
    }
}

#[test]
fn a_few_interim_answers_are_borne_and_not_passed_on() {
    let gateway = saying(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Countersign-App-Id: forged\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let mut connection = gateway.stranger().connect();
    connection.send(&request("GET", "/evil", "", ""));
    assert_eq!(connection.read_exact(12), b"HTTP/1.1 200");
    honest(&gateway, "interim answers");
}

#[test]
fn fields_for_one_hop_of_an_answer_stay_there() {
    let gateway = saying(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Private\r\nconnection: x-OTHER\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authenticate: Basic\r\nX-Private: 1\r\nx-other: 2\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Countersign-App-Id: forged\r\nX-Kept: 3\r\nContent-Length: 2\r\n\r\nok",
    );
    for answer in [
        gateway.stranger().get("/evil"),
        gateway.stranger().get_h2("/evil", &[]),
    ] {
        assert_eq!((answer.status, answer.header("x-kept")), (200, Some("3")));
        for name in [
            "x-private",
            "x-other",
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "te",
            "upgrade",
            "x-countersign-app-id",
        ] {
            assert_eq!(answer.header(name), None, "{name}");
        }
    }
    honest(&gateway, "fields for one hop");
}

/// An interim answer has no body, whatever its fields say: what follows it is the next answer, and there is one.
#[test]
fn an_interim_answer_frames_nothing_and_hides_no_answer() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let length = ok.len();
    for (answer, expected) in [
        (
            format!("HTTP/1.1 103 Early Hints\r\nContent-Length: {length}\r\n\r\n{ok}{poison}"),
            200,
        ),
        (
            format!("HTTP/1.1 103 Early Hints\r\nContent-Length : {length}\r\n\r\n{ok}{poison}"),
            200,
        ),
        (
            format!(
                "HTTP/1.1 102 Processing\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{ok}{poison}"
            ),
            0,
        ),
        (
            format!("HTTP/1.1 102 Processing\r\nTransfer-Encoding: chunked\r\n\r\n{ok}{poison}"),
            0,
        ),
        (
            format!("HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n{ok}{poison}"),
            200,
        ),
        (
            format!("HTTP/1.1 199 Odd\r\nKeep-Alive: timeout=9999999\r\n\r\n{ok}{poison}"),
            200,
        ),
        (
            format!("{ok}HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{poison}"),
            200,
        ),
        (format!("{ok}HTTP/1.1 100 Continue\r\n\r\n"), 200),
        (
            format!("HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\nhello{poison}"),
            502,
        ),
        (
            format!(
                "HTTP/1.1 102 Processing\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{poison}"
            ),
            502,
        ),
        (
            format!("HTTP/1.1 103 Early Hints\r\n X: folded\r\n\r\n{poison}"),
            502,
        ),
        (
            format!("HTTP/1.1 103 Early Hints\nLink: x\n\n{poison}"),
            502,
        ),
        (
            format!("HTTP/1.1 103 Early Hints\r\nLink: a\rb\r\n\r\n{poison}"),
            502,
        ),
        (format!("HTTP/1.1 10 Early\r\n\r\n{poison}"), 502),
        (format!("HTTP/1.1 1000 Early\r\n\r\n{poison}"), 502),
        (
            format!(
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n{poison}"
            ),
            502,
        ),
    ] {
        let gateway = saying(answer.as_str());
        let partner = gateway.stranger();
        let mut connection = partner.connect();
        connection.set_patience(Duration::from_secs(4));
        connection.send(&request("GET", "/evil", "Connection: close\r\n", ""));
        let mut bytes = Vec::new();
        let mut piece = [0_u8; 1024];
        while let Ok(read @ 1..) = connection.read(&mut piece) {
            bytes.extend(&piece[..read]);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status: u16 = text.get(9..12).unwrap_or_default().parse().unwrap_or(0);
        assert!(
            status == 502 || (expected != 502 && status == 200),
            "{answer:?}: {text}"
        );
        assert!(expected == 0 || status == expected, "{answer:?}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{answer:?}: {text}");
        assert!(!text.contains("poison"), "{answer:?}: {text}");
        let over_h2 = partner.get_h2("/evil", &[]);
        assert_eq!(over_h2.status, status, "{answer:?}");
        assert!(!over_h2.text().contains("poison"), "{answer:?}");
        honest(&gateway, &answer);
    }
}

/// Blanks before a colon are taken away before anything is judged by the name.
#[test]
fn fields_for_one_hop_stay_there_though_blanks_stand_before_their_colons() {
    for blank in [" ", "\t", "  \t "] {
        let gateway = saying(
            "HTTP/1.1 200 OK\r\nConnection: close, X-Private\r\nconnection: x-OTHER\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authenticate: Basic\r\nX-Private: 1\r\nx-other: 2\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Countersign-App-Id: forged\r\nX-Request-Id: forged\r\nX-Kept: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Countersign-App-Id: forged\r\nContent-Length: 70\r\nTransfer-Encoding: chunked\r\nConnection: x\r\nSet-Cookie: forged\r\nX-Sum: 7\r\n\r\n"
                .replace(": ", &format!("{blank}: ")),
        );
        for answer in [
            gateway.stranger().get("/evil"),
            gateway.stranger().get_h2("/evil", &[]),
        ] {
            assert_eq!((answer.status, answer.header("x-kept")), (200, Some("3")));
            assert_eq!(answer.text(), "ok");
            for name in [
                "x-private",
                "x-other",
                "keep-alive",
                "proxy-connection",
                "proxy-authenticate",
                "te",
                "upgrade",
                "x-countersign-app-id",
                "content-length",
            ] {
                assert_eq!(answer.header(name), None, "{blank:?} {name}");
            }
            let ours = answer.header("x-request-id").unwrap();
            assert!(ours.starts_with("req_"), "{answer:?}");
            let clean = |(name, value): &(String, String)| {
                !name.contains([' ', '\t']) && !value.contains("x-OTHER")
            };
            assert!(answer.headers.iter().all(clean), "{answer:?}");
        }
        honest(&gateway, blank);
    }
}

/// What an upstream says of how long it keeps a connection is a number of seconds or nothing.
#[test]
fn nothing_that_an_upstream_says_of_its_connection_breaks_the_next_request() {
    for field in [
        "timeout=0",
        "timeout=-1",
        "timeout=99999999999999999999",
        "timeout=1e9",
        "timeout=5, timeout=0",
        "timeout",
        "max=0",
        "max=-1, timeout=\u{e9}",
        "timeout=\"5",
    ] {
        let gateway = saying(format!(
            "HTTP/1.1 200 OK\r\nKeep-Alive: {field}\r\nKeep-Alive : {field}\r\nContent-Length: 2\r\n\r\nok"
        ));
        assert_eq!(gateway.stranger().get("/evil").text(), "ok", "{field}");
        honest(&gateway, field);
        assert_eq!(
            gateway.stranger().post("/evil", &[], b"x").text(),
            "ok",
            "{field}"
        );
    }
}

/// A request that an upstream says it has not read is sent once more, with its body too, and not for as long as it
/// says so.
#[test]
fn an_upstream_that_refuses_every_stream_is_asked_twice_and_no_more() {
    for reason in [
        h2::Reason::REFUSED_STREAM,
        h2::Reason::NO_ERROR,
        h2::Reason::CANCEL,
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let upstream = refusing(Arc::clone(&asked), reason);
        let text = config(&upstream, OPEN).replace("] }\nhosts", "], protocol: http2 }\nhosts");
        let gateway = Gateway::start(&text);
        let partner = gateway.stranger();
        let large = vec![b'x'; 200 << 10];
        for (method, body) in [("GET", &b""[..]), ("POST", b"pay"), ("POST", &large)] {
            let before = asked.load(Ordering::SeqCst);
            let answer = partner.connect().request(method, "/evil", &[], body);
            assert_eq!(answer.reason(), "upstream_failed", "{method} {reason:?}");
            let times = asked.load(Ordering::SeqCst) - before;
            // Only what says that nothing was read allows a second time for what must not be repeated.
            let most = if reason == h2::Reason::REFUSED_STREAM || method == "GET" {
                2
            } else {
                1
            };
            assert!(
                (1..=most).contains(&times),
                "{method} {reason:?}: {times} times"
            );
        }
        assert_eq!(gateway.count("countersign_panics_total"), 0);
    }
}

/// An HTTP/2 upstream that resets every stream.
fn refusing(asked: Arc<AtomicUsize>, reason: h2::Reason) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let asked = Arc::clone(&asked);
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the upstream's life is the test's"
                )]
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else {
                        return;
                    };
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        asked.fetch_add(1, Ordering::SeqCst);
                        respond.send_reset(reason);
                    }
                });
            }
        });
    });
    url
}

/// What a connection holds beyond its answer is nobody's answer.
#[test]
fn a_second_answer_is_given_to_nobody() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for (method, first) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n",
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n"),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ] {
        let gateway = saying(format!("{first}{poison}"));
        let answer = ask(&gateway, method).unwrap();
        assert!(
            [200, 204, 304].contains(&answer.status),
            "{method} {first:?}: {answer:?}"
        );
        honest(&gateway, first);
    }
}

/// The poison comes a moment after the answer, when the connection waits for its next use.
#[test]
fn an_answer_that_nobody_asked_for_is_given_to_nobody() {
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    let gateway = besieged(move |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        pause(Duration::from_millis(50));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
        count.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(gateway.stranger().get("/evil").text(), "ok");
    crate::support::eventually::eventually("the poison is sent", || {
        (served.load(Ordering::SeqCst) == 1).then_some(())
    });
    honest(&gateway, "an answer that nobody asked for");
}

#[test]
fn a_body_that_goes_wrong_is_not_passed_off_as_whole() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let extension = format!("{head}5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000));
    let zeros = format!("{head}{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(20_000));
    let trailers = format!("{head}0\r\n{}\r\n", "X: 1\r\n".repeat(5000));
    for answer in [
        &extension,
        &zeros,
        &trailers,
        &format!("{head}zz\r\n"),
        &format!("{head}5\nhello\r\n0\r\n\r\n"),
        &format!("{head}5\r\nhelloXX0\r\n\r\n"),
        &format!("{head}ffffffffffffffff\r\nhello"),
        &format!("{head}-5\r\nhello\r\n0\r\n\r\n"),
        head,
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello",
    ] {
        let gateway = saying(answer);
        let mut connection = gateway.stranger().connect();
        connection.set_patience(Duration::from_secs(4));
        connection.send(&request("GET", "/evil", "", ""));
        let mut bytes = Vec::new();
        let mut piece = [0_u8; 1024];
        while let Ok(read @ 1..) = connection.read(&mut piece) {
            bytes.extend(&piece[..read]);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let whole = text.contains("\r\n0\r\n\r\n");
        assert!(
            text.starts_with("HTTP/1.1 502") || !whole,
            "{text} to {}",
            shown(answer.as_bytes())
        );
        honest(&gateway, &shown(answer.as_bytes()));
    }
}

#[test]
fn an_upstream_without_end_costs_no_memory() {
    let gateway = besieged(|stream| {
        let piece = [b'x'; 16 << 10];
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-Endless: ").is_ok() && stream.write_all(&piece).is_ok() {}
    });
    let memory = gateway.resident();
    for _ in 0..10 {
        let answer = ask(&gateway, "GET").unwrap();
        assert_eq!(answer.reason(), "upstream_failed");
    }
    let grown = gateway.resident().saturating_sub(memory);
    assert!(grown < MEMORY_MAX, "{grown} bytes");
    honest(&gateway, "an endless head");
}

#[expect(
    clippy::disallowed_methods,
    reason = "an upstream's own thread has nothing else to do"
)]
fn pause(span: Duration) {
    std::thread::sleep(span);
}
