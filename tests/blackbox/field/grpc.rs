//! Refusals as gRPC clients read them: trailers only, with a status, a message and the reason.

use crate::support::frames::{END_HEADERS, END_STREAM, Frame, Frames, HEADERS, block, fields};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /mtls }, require: mtls, upstream: api }
      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: /limited }, require: none, limit: { per: route, rate: 1/m }, upstream: api }
      - { match: { prefix: /small }, require: none, body_max: 3B, upstream: api }
      - { match: { path: /open, methods: [POST] }, require: none, upstream: api }";

#[test]
fn a_refusal_is_trailers_only_with_a_status_of_grpc() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for (method, path, code, reason, status) in [
        ("POST", "/mtls", "16", "cert_missing", 401),
        ("POST", "/key", "16", "credential_missing", 401),
        ("POST", "/nowhere", "12", "route_unknown", 404),
        ("GET", "/open", "12", "method_unknown", 405),
        ("POST", "/mtls/..%2fx", "3", "path_invalid", 400),
    ] {
        let answers = gateway.stranger().over_h2(
            vec![(path.to_owned(), bytes::Bytes::new())],
            &[
                ("content-type", "application/grpc+proto"),
                ("te", "trailers"),
            ],
            |builder| builder.method(method),
        );
        let answer = &answers[0];
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        assert_eq!(answer.header("grpc-status"), Some(code), "{path}");
        assert_eq!(
            answer.header("x-countersign-reason"),
            Some(reason),
            "{path}"
        );
        let message = answer.header("grpc-message").unwrap();
        assert!(
            message
                .bytes()
                .all(|byte| byte.is_ascii_graphic() || byte == b' '),
            "{message}"
        );
        assert!(message.len() > 20, "{message}");
        assert!(answer.body.is_empty());
        let line = gateway.record_of(answer.header("x-request-id").unwrap());
        assert_eq!(line["reason"], reason);
        assert_eq!(line["status"], status);
    }
    assert_eq!(echo.requests(), 0);
}

/// One HEADERS frame ends the stream; a problem document would be read as a broken message.
#[test]
fn no_data_follows_the_head() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let mut frames = Frames::open(&gateway.stranger());
    let call = |path: &'static str, kind: &'static str| {
        let list = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", path),
            ("content-type", kind),
            ("te", "trailers"),
        ];
        block(&fields(&list))
    };
    frames.send(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &call("/mtls", "application/grpc"),
    );
    let first = answer_frame(&mut frames, 1);
    assert_eq!(
        (first.kind, first.flags & END_STREAM),
        (HEADERS, END_STREAM)
    );
    frames.send(
        HEADERS,
        END_HEADERS | END_STREAM,
        3,
        &call("/mtls", "application/grpc-web"),
    );
    let other = answer_frame(&mut frames, 3);
    assert_eq!(
        (other.kind, other.flags & END_STREAM),
        (HEADERS, 0),
        "a problem has a body"
    );
}

fn answer_frame(frames: &mut Frames, stream: u32) -> Frame {
    loop {
        let frame = frames.receive().unwrap();
        if frame.stream == stream {
            return frame;
        }
    }
}

#[test]
fn limits_and_bodies_are_exhausted_resources() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let call = |path: &str, body: &'static [u8]| {
        let requests = vec![(path.to_owned(), bytes::Bytes::from_static(body))];
        let kind = [("content-type", "application/grpc")];
        let post = |builder: http::request::Builder| builder.method("POST");
        gateway.stranger().over_h2(requests, &kind, post).remove(0)
    };
    assert_eq!(call("/limited", b"").header("grpc-status"), None);
    let limited = call("/limited", b"");
    assert_eq!(limited.header("grpc-status"), Some("8"));
    assert_eq!(limited.header("x-countersign-reason"), Some("rate_limited"));
    assert!(limited.header("retry-after").is_some());
    let large = call("/small", b"0123456789");
    assert_eq!(large.header("grpc-status"), Some("8"));
    assert_eq!(large.header("x-countersign-reason"), Some("body_too_large"));
    // Who does not speak gRPC gets a problem.
    assert_eq!(
        gateway.stranger().get_h2("/mtls", &[]).reason(),
        "cert_missing"
    );
    let http1 = gateway
        .stranger()
        .post("/mtls", &[("Content-Type", "application/grpc")], b"");
    assert_eq!(http1.reason(), "cert_missing");
}

/// An answer of gRPC has the status 200. It is for calls of gRPC alone, and says nothing of the request but the reason.
#[test]
fn only_a_call_of_grpc_is_refused_with_200() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for kind in [
        "application/grpc-web",
        "application/grpcx",
        "application/grp",
        "text/application/grpc",
        "application/json; application/grpc",
        " application/json,application/grpc",
    ] {
        let answer = gateway
            .stranger()
            .get_h2("/mtls", &[("content-type", kind)]);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (401, "cert_missing"),
            "{kind}"
        );
        assert_eq!(answer.header("grpc-status"), None, "{kind}");
    }
    // Over HTTP/1.1 nobody speaks it.
    let answer = gateway
        .stranger()
        .get_with("/mtls", &[("Content-Type", "application/grpc")]);
    assert_eq!(answer.status, 401);
    for path in [
        "/mtls/%0d%0agrpc-status:%200",
        "/mtls/a%00",
        "/mtls/%25grpc-status",
        "/mtls/..%2f\"x",
    ] {
        let answers = gateway.stranger().over_h2(
            vec![(path.to_owned(), bytes::Bytes::new())],
            &[("content-type", "application/grpc")],
            |builder| builder.method("POST"),
        );
        let answer = &answers[0];
        let statuses = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "grpc-status");
        let statuses: Vec<_> = statuses.map(|(_, value)| value.as_str()).collect();
        assert!(
            statuses == ["3"] || statuses == ["16"],
            "{path}: {statuses:?}"
        );
        let message = answer.header("grpc-message").unwrap();
        assert!(
            message
                .bytes()
                .all(|byte| byte.is_ascii_graphic() || byte == b' '),
            "{message}"
        );
    }
    assert_eq!(echo.requests(), 0);
}
