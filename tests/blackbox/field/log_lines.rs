//! Lines that strangers can cause: with the address, limited by kind, and none of a library's.

use serde_json::Value;

use crate::support::eventually::eventually;
use crate::support::frames::{self, Frames};
use crate::support::gateway::{Gateway, config, config_with};
use crate::support::upstream::Echo;

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// The limit on lines of one kind: ten at once, and one every six seconds, of which a slow run may see some.
const LINES_MAX: usize = 20;

/// Lines of the log, which is JSON.
fn lines(gateway: &Gateway) -> Vec<Value> {
    let log = gateway.log();
    let lines = log.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn suppressed(lines: &[Value]) -> u64 {
    lines
        .iter()
        .filter_map(|line| line["suppressed"].as_u64())
        .sum()
}

/// Opens streams and resets them in one go, until the connection ends.
fn reset_rapidly(gateway: &Gateway) {
    let mut connection = Frames::open(&gateway.stranger());
    let block = frames::block(&frames::get("/"));
    let flags = frames::END_HEADERS | frames::END_STREAM;
    let mut bytes = Vec::new();
    for number in 0..500_u32 {
        let stream = number * 2 + 1;
        frames::put(&mut bytes, frames::HEADERS, flags, stream, &block);
        frames::put(&mut bytes, frames::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }
    connection.send_bytes(&bytes);
    connection.until_end();
}

/// Sends a frame for a stream that cannot be.
fn break_a_rule(gateway: &Gateway) {
    let mut connection = Frames::open(&gateway.stranger());
    connection.send(frames::DATA, 0, 2, b"x");
    connection.until_end();
}

/// Acknowledges a ping that was never sent, which a library warns of.
fn acknowledge_nothing(gateway: &Gateway) {
    let mut connection = Frames::open(&gateway.stranger());
    for _ in 0..20 {
        connection.send(frames::PING, frames::ACK, 0, b"nothing!");
    }
    connection.send(frames::PING, 0, 0, b"still on");
    let answered = |frame: &frames::Frame| frame.kind == frames::PING;
    while !connection.receive().as_ref().is_none_or(answered) {}
}

#[test]
fn abusive_connections_cost_a_few_lines_with_their_address() {
    let echo = Echo::start();
    for abuse in [reset_rapidly, break_a_rule] {
        let gateway = Gateway::start(&config_with(&echo.url(), OPEN, "log: { format: json }"));
        for _ in 0..40 {
            abuse(&gateway);
        }
        let found = eventually("lines about HTTP/2", || {
            let all = lines(&gateway);
            let of_kind = |line: &&Value| line["message"] == "a client broke the rules of HTTP/2";
            let ours: Vec<Value> = all.iter().filter(of_kind).cloned().collect();
            (ours.len() >= 10).then_some((all, ours))
        });
        let (all, ours) = found;
        assert!(ours.len() <= LINES_MAX, "{}", ours.len());
        assert!(suppressed(&ours) <= 40);
        for line in &ours {
            assert_eq!(line["address"], "127.0.0.1", "{line}");
            assert_eq!(line["level"], "WARN", "{line}");
            assert!(line["error"].as_str().is_some_and(|text| !text.is_empty()));
        }
        let foreign = |line: &&Value| !line["target"].as_str().unwrap().starts_with("countersign");
        assert_eq!(all.iter().find(foreign), None, "a library's line");
    }
}

#[test]
fn a_library_that_warns_of_a_client_is_not_heard() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN));
    for _ in 0..5 {
        acknowledge_nothing(&gateway);
    }
    assert_eq!(gateway.stranger().get("/").status, 200);
    let log = gateway.log();
    assert!(!log.contains("h2::"), "{log}");
    assert!(!log.contains("PING ack"), "{log}");
}
