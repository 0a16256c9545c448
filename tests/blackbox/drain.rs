//! Stopping: what runs is finished, nobody new is let in, and whoever cannot wait says so twice.

use std::time::Duration;

use crate::support::client::WEBSOCKET;
use crate::support::eventually::eventually;
use crate::support::frames::{self, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS};
use crate::support::gateway::{Gateway, HOST, config, draining};
use crate::support::upstream::{Echo, Held};

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api, upgrades: true }";

/// Nobody has to notice that it stops.
fn at_once(upstream: &str) -> String {
    draining(&config(upstream, OPEN), "delay: 1ms")
}

fn get() -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes()
}

#[test]
fn who_is_being_served_is_told_that_the_connection_ends_and_nobody_new_is_let_in() {
    let held = Held::start();
    let mut gateway = Gateway::start(&at_once(held.url()));
    let mut running = gateway.stranger().connect();
    running.send(&get());
    let mut streams = Frames::open(&gateway.stranger());
    let block = frames::block(&frames::get("/"));
    streams.send(HEADERS, END_STREAM | END_HEADERS, 1, &block);
    held.wait_for(2);
    let mut idle = Frames::open(&gateway.stranger());
    gateway.signal("TERM");
    gateway.wait_until_closed();
    assert_eq!(gateway.ops_get("/readyz").0, 503);
    held.answer();
    let answer = running.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    assert_eq!(answer.header("connection"), Some("close"));
    // On HTTP/2 the word comes before the answer does, and is about later streams only.
    let told = streams.until_end();
    let place = |kind| told.iter().position(|frame| frame.kind == kind).unwrap();
    assert!(place(GOAWAY) < place(HEADERS), "{told:?}");
    assert_eq!(frames::status(&told[place(HEADERS)].payload), 200);
    for frame in told.iter().chain(&idle.until_end()) {
        assert!(
            frame.kind != GOAWAY || frame.payload[4..8] == [0; 4],
            "no error"
        );
    }
    assert!(running.is_closed_within(Duration::from_secs(5)));
    assert_eq!(gateway.wait(Duration::from_secs(10)), Some(0));
}

#[test]
fn an_interrupt_drains_and_a_second_signal_ends_at_once() {
    let held = Held::start();
    let mut gateway = Gateway::start(&at_once(held.url()));
    let mut running = gateway.stranger().connect();
    running.send(&get());
    held.wait_for(1);
    gateway.signal("INT");
    gateway.wait_until_closed();
    assert_eq!(gateway.wait(Duration::from_millis(100)), None, "it waits");
    gateway.signal("TERM");
    // Half a minute is what drain.timeout would have given.
    assert_eq!(gateway.wait(Duration::from_secs(10)), Some(0));
    assert!(running.try_answer().is_none());
    assert!(
        gateway.log().contains("second stop signal"),
        "{}",
        gateway.log()
    );
}

#[test]
fn an_operator_drains_it_from_the_command_line() {
    let echo = Echo::start();
    let mut gateway = Gateway::start(&at_once(&echo.url()));
    let mut idle = gateway.stranger().connect();
    assert_eq!(idle.get("/").status, 200);
    let mut tunnel = gateway.stranger().connect();
    let switched = tunnel.request("GET", "/ws", &WEBSOCKET, b"");
    assert_eq!(switched.status, 101);
    let told = gateway.cli_json(&["drain"]);
    assert_eq!(told["draining"], true);
    assert!(idle.is_closed_within(Duration::from_secs(5)));
    gateway.wait_until_closed();
    // A tunnel lives on until its client leaves, or the time is up.
    tunnel.send(b"ping");
    assert_eq!(tunnel.read_exact(4), b"ping");
    drop(tunnel);
    assert_eq!(gateway.wait(Duration::from_secs(10)), Some(0));
    let dir = gateway.kill();
    let gateway = Gateway::start_in(dir, &at_once(&echo.url()));
    let events = gateway.cli_json(&["audit", "list", "--action", "gateway.drain"]);
    let actors: Vec<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["actor"].as_str().unwrap())
        .collect();
    assert!(
        matches!(actors[..], [actor] if actor != "gateway"),
        "{events}"
    );
    eventually("it serves again", || {
        (gateway.stranger().get("/").status == 200).then_some(())
    });
}
