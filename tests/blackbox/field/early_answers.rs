//! Answers that leave before all of the request has come: clients that are still sending get them.

use std::time::{Duration, Instant};

use crate::support::client::{Answer, Connection, Partner};
use crate::support::eventually::eventually;
use crate::support::frames::{
    self, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, Outcome, RST_STREAM,
};
use crate::support::gateway::{Enrolled, Gateway, HOST, config};
use crate::support::process;
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /partner }, require: mtls, upstream: api }
      - { match: { prefix: /open }, require: none, upstream: api }
      - { match: { prefix: /small }, require: none, upstream: api, body_max: 1MiB }
      - { match: { prefix: /once }, require: none, upstream: api, limit: { per: route, rate: 1/h, burst: 1 } }";

const LARGE: usize = 3 << 20;

/// A gateway, and a partner of it whose certificate is revoked.
struct Scene {
    _echo: Echo,
    gateway: Gateway,
    revoked: Enrolled,
}

impl Scene {
    /// With these settings of the partners' listener.
    fn with(listener: &str) -> Self {
        let echo = Echo::start();
        let text = config(&echo.url(), ROUTES);
        let listening = format!("\"127.0.0.1:0\"{listener} }}");
        let gateway = Gateway::start(&text.replacen("\"127.0.0.1:0\" }", &listening, 1));
        let revoked = gateway.enrol("revoked");
        let args = ["cert", "revoke", &revoked.id, "--yes"];
        gateway.cli_json(&args);
        eventually("the limit is used up", || {
            let mut connection = gateway.stranger().try_connect(HOST).ok()?;
            (connection.get("/once").status == 429).then_some(())
        });
        Self {
            _echo: echo,
            gateway,
            revoked,
        }
    }

    /// What is refused, each with the path, the fields, who asks for it and the reason.
    fn refusals(&self) -> Vec<(String, String, Partner, &'static str)> {
        let stranger = || self.gateway.stranger();
        let none = String::new;
        let path = |path: &str| path.to_owned();
        let long = format!("X-A: {}\r\n", "a".repeat(40_000));
        let key = self.revoked.partner.clone();
        vec![
            (path("/partner"), none(), key, "cert_revoked"),
            (path("/partner"), none(), stranger(), "cert_missing"),
            (path("/nowhere"), none(), stranger(), "route_unknown"),
            (path("/small"), none(), stranger(), "body_too_large"),
            (path("/once"), none(), stranger(), "rate_limited"),
            (path("/oauth2/token"), none(), stranger(), "body_too_large"),
            (path("/open"), long, stranger(), "headers_too_large"),
            (
                "/open/".to_owned() + &"a".repeat(9000),
                none(),
                stranger(),
                "uri_too_long",
            ),
            (path("/open/%00"), none(), stranger(), "path_invalid"),
            (
                path("/open"),
                "No name\r\n".to_owned(),
                stranger(),
                "request_malformed",
            ),
        ]
    }
}

fn reason(answer: &Answer) -> String {
    answer.json()["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn head(path: &str, lines: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n").into_bytes()
}

/// A client that sends everything before it listens, as simple ones do.
#[test]
fn a_client_that_sends_everything_first_gets_the_answer() {
    let scene = Scene::with("");
    let body = vec![b'x'; LARGE];
    for (path, lines, partner, expected) in scene.refusals() {
        let mut connection = partner.connect();
        let lines = format!("{lines}Content-Length: {LARGE}\r\n");
        connection.send(&head(&path, &lines));
        connection
            .try_send(&body)
            .unwrap_or_else(|error| panic!("{expected}: {error}"));
        let answer = connection.answer();
        assert_eq!(reason(&answer), expected);
        assert_eq!(answer.header("connection"), Some("close"), "{expected}");
        assert!(
            connection.is_closed_within(Duration::from_secs(5)),
            "{expected}"
        );
    }
    assert_eq!(scene.gateway.stranger().get("/open").status, 200);
}

#[test]
fn a_body_that_turns_out_too_long_is_refused_in_the_middle() {
    let scene = Scene::with("");
    let mut connection = scene.gateway.stranger().connect();
    connection.send(&head("/small", "Transfer-Encoding: chunked\r\n"));
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..48 {
        connection.try_send(&chunk).unwrap();
    }
    connection.try_send(b"0\r\n\r\n").unwrap();
    assert_eq!(reason(&connection.answer()), "body_too_large");
}

/// curl reads while it sends, and over HTTP/2 takes a reset while it sends for the loss of the answer.
#[test]
fn curl_prints_the_reason_over_either_version() {
    let scene = Scene::with("");
    let dir = scene.gateway.dir();
    std::fs::write(dir.join("body"), vec![b'x'; LARGE]).unwrap();
    let port = scene.gateway.partners().port();
    let resolve = format!("{HOST}:{port}:127.0.0.1");
    let ca = scene.gateway.ca();
    let (certificate, key) = (&scene.revoked.certificate, &scene.revoked.key);
    for version in ["--http1.1", "--http2"] {
        for (path, expected) in [
            ("/partner", "cert_revoked"),
            ("/nowhere", "cert_revoked"),
            ("/small", "body_too_large"),
            ("/once", "rate_limited"),
            ("/oauth2/token", "body_too_large"),
        ] {
            let url = format!("https://{HOST}:{port}{path}");
            let mut args = vec!["-sS", version, "--resolve", &resolve, "--max-time", "30"];
            args.extend(["--cacert", ca.to_str().unwrap(), "-H", "Expect:"]);
            args.extend(["--data-binary", "@body", &url]);
            if expected == "cert_revoked" {
                args.extend(["--cert", certificate.to_str().unwrap()]);
                args.extend(["--key", key.to_str().unwrap()]);
            }
            for _ in 0..3 {
                let said = process::run(dir, "curl", &args);
                assert!(said.stdout.contains(expected), "{version} {path}: {said:?}");
            }
        }
    }
}

/// A client that asks first whether its body is wanted is told that it is not, and that there is nothing more.
#[test]
fn a_client_that_asks_first_is_not_waited_for() {
    let scene = Scene::with("");
    let mut connection = scene.gateway.stranger().connect();
    let began = Instant::now();
    let lines = format!("Content-Length: {LARGE}\r\nExpect: 100-continue\r\n");
    connection.send(&head("/partner", &lines));
    assert_eq!(reason(&connection.answer()), "cert_missing");
    assert!(connection.is_closed_within(Duration::from_secs(5)));
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

const TIGHT: &str = ", discard: { bytes_max: 8MiB, time: 3s, pause: 2s }";

/// How long the gateway goes on reading from a client that does this again and again.
fn borne(connection: &mut Connection, piece: &[u8], pause: Duration) -> (Duration, usize) {
    let began = Instant::now();
    let mut sent = 0;
    connection.set_patience(Duration::from_secs(20));
    while connection.try_send(piece).is_ok() && began.elapsed() < Duration::from_secs(20) {
        sent += piece.len();
        let _pause = connection.is_closed_within(pause);
    }
    (began.elapsed(), sent)
}

#[test]
fn who_never_stops_sending_is_left_in_the_end() {
    let scene = Scene::with(TIGHT);
    for lines in [
        "Content-Length: 99999999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "No name\r\n",
    ] {
        let mut drips = scene.gateway.stranger().connect();
        drips.send(&head("/partner", lines));
        assert!(drips.try_answer().is_some());
        let (took, _) = borne(&mut drips, b"1", Duration::from_millis(200));
        assert!(took < Duration::from_secs(8), "{lines:?}: {took:?}");
    }
    let mut floods = scene.gateway.stranger().connect();
    floods.send(&head("/partner", "Content-Length: 99999999999\r\n"));
    assert!(floods.try_answer().is_some());
    let (_, sent) = borne(&mut floods, &vec![b'x'; 1 << 16], Duration::from_micros(1));
    assert!(sent < 32 << 20, "{sent}");
}

#[test]
fn nothing_that_is_thrown_away_becomes_a_request() {
    let scene = Scene::with(TIGHT);
    let smuggled = format!("GET /open/smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    for (lines, rest) in [
        ("Content-Length: 2000000\r\n", vec![b'x'; 2_000_000]),
        (
            "Transfer-Encoding: chunked\r\n",
            b"3\r\nabc\r\n0\r\n\r\n".to_vec(),
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            b"zzz\r\n0\r\n\r\n".to_vec(),
        ),
        ("Content-Length: 5\r\nExpect: 100-continue\r\n", Vec::new()),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            b"hello".to_vec(),
        ),
    ] {
        let mut connection = scene.gateway.stranger().connect();
        connection.send(&head("/partner", lines));
        let refused = connection.answer();
        assert!(
            matches!(refused.status, 400 | 401),
            "{lines:?}: {refused:?}"
        );
        let _ = connection.try_send(&rest);
        let _ = connection.try_send(smuggled.as_bytes());
        assert!(connection.try_answer().is_none(), "{lines:?}");
    }
    assert_eq!(scene.gateway.stranger().get("/open/honest").status, 200);
    let log = eventually("the honest request is in the log", || {
        let log = scene.gateway.access_log();
        log.iter()
            .any(|line| line["path"] == "/open/honest")
            .then_some(log)
    });
    assert!(
        log.iter().all(|line| line["path"] != "/open/smuggled"),
        "{log:?}"
    );
}

#[test]
fn who_is_heard_out_still_takes_a_connection_of_its_address() {
    let scene = Scene::with(", connections_per_address: 1, discard: { time: 3s, pause: 3s }");
    let mut first = eventually("the place is free", || {
        scene.gateway.stranger().try_connect(HOST).ok()
    });
    first.send(&head("/partner", "Content-Length: 99999999999\r\n"));
    assert_eq!(first.answer().status, 401);
    let refused = scene.gateway.stranger().try_connect(HOST);
    assert!(refused.is_err(), "the first one is still there");
    while !first.is_closed_within(Duration::from_millis(100)) {
        let _ = first.try_send(b"more");
    }
    drop(first);
    eventually("its place is free", || {
        scene.gateway.stranger().try_connect(HOST).ok()
    });
}

#[test]
fn a_stream_is_not_reset_while_its_body_comes_and_harms_no_other() {
    let scene = Scene::with(TIGHT);
    let mut frames = Frames::open(&scene.gateway.stranger());
    let mut post = frames::get("/partner");
    post[0].1 = b"POST".to_vec();
    frames.send(HEADERS, END_HEADERS, 1, &frames::block(&post));
    assert_eq!(frames.outcome(1), Outcome::Answered(401));
    let piece = [b'x'; 16 << 10];
    // As much as the window that a stream has at first.
    for _ in 0..3 {
        assert!(frames.send(DATA, 0, 1, &piece));
    }
    let whole = END_STREAM | END_HEADERS;
    frames.send(HEADERS, whole, 3, &frames::block(&frames::get("/open")));
    let mut seen = Vec::new();
    loop {
        let frame = frames.receive().expect("the connection goes on");
        seen.push((frame.kind, frame.stream));
        if frame.stream == 3 && frame.kind == HEADERS {
            break;
        }
    }
    assert!(!seen.contains(&(RST_STREAM, 1)), "{seen:?}");
    // Nothing more comes, so in the end it is reset, without blaming the client.
    assert_eq!(frames.outcome(1), Outcome::Reset(0));
    frames.send(HEADERS, whole, 5, &frames::block(&frames::get("/open")));
    assert_eq!(frames.outcome(5), Outcome::Answered(200));
}

/// An operator's request is answered like a partner's.
#[test]
fn the_admin_api_answers_who_is_still_sending() {
    let scene = Scene::with("");
    let ca = scene.gateway.ca();
    let admin = Partner::new(scene.gateway.admin(), "localhost", &ca, None);
    for (path, lines, status) in [
        (
            "/api/v1/apps",
            "Content-Type: application/json\r\n".to_owned(),
            401,
        ),
        ("/api/v1/nothing", String::new(), 404),
        (
            "/api/v1/apps",
            format!("X-A: {}\r\n", "a".repeat(40_000)),
            431,
        ),
    ] {
        let mut connection = admin.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: {LARGE}\r\n\r\n"
        );
        connection.send(head.as_bytes());
        connection
            .try_send(&vec![b' '; LARGE])
            .unwrap_or_else(|error| panic!("{status}: {error}"));
        let answer = connection.answer();
        assert!(
            answer.status == status || answer.status == 401,
            "{answer:?}"
        );
    }
}
