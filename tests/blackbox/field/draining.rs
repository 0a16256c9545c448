//! A gateway that is about to stop: clients are sent elsewhere while they are still served, and lose nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::client::{Connection, Partner};
use crate::support::eventually::eventually;
use crate::support::frames::{
    self, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, RST_STREAM,
    WINDOW_UPDATE,
};
use crate::support::gateway::{Gateway, config, draining};
use crate::support::upstream::Echo;

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";
const WHOLE: u8 = END_STREAM | END_HEADERS;

fn start(echo: &Echo, delay: &str) -> Gateway {
    let settings = format!("delay: {delay}");
    Gateway::start(&draining(&config(&echo.url(), OPEN), &settings))
}

/// Tells it to stop, and waits until it says so.
fn begin(gateway: &Gateway) {
    gateway.signal("TERM");
    eventually("it says that it is not ready", || {
        (gateway.ops_get("/readyz").0 == 503).then_some(())
    });
}

#[test]
fn each_answer_is_the_last_of_its_connection_from_the_moment_that_readiness_goes() {
    let echo = Echo::start();
    let gateway = start(&echo, "30s");
    let mut kept: Vec<Connection> = (0..3).map(|_| gateway.stranger().connect()).collect();
    for connection in &mut kept {
        assert_eq!(connection.get("/").header("connection"), None);
    }
    begin(&gateway);
    kept.push(gateway.stranger().connect());
    for connection in &mut kept {
        let answer = connection.get("/");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(connection.is_closed_within(Duration::from_secs(5)));
    }
}

/// Asks on a connection for as long as it is kept, as clients with pools do, until told to stop; counts failures.
fn keep_asking(partner: &Partner, stop: &AtomicBool) -> (usize, usize) {
    let (mut asked, mut failed) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let mut connection = partner.connect();
        loop {
            asked += 1;
            connection.send(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
            match connection.try_answer() {
                Some(answer) if answer.header("connection") == Some("close") => break,
                Some(_) if stop.load(Ordering::SeqCst) => break,
                Some(_) => {}
                None => {
                    failed += 1;
                    break;
                }
            }
        }
    }
    (asked, failed)
}

#[test]
fn requests_over_kept_connections_lose_nothing_while_it_waits() {
    let echo = Echo::start();
    let gateway = start(&echo, "30s");
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (partner, stop) = (gateway.stranger(), Arc::clone(&stop));
            thread::spawn(move || keep_asking(&partner, &stop))
        })
        .collect();
    eventually("they ask", || (echo.requests() > 50).then_some(()));
    begin(&gateway);
    let before = echo.requests();
    eventually("they go on", || {
        (echo.requests() > before + 50).then_some(())
    });
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        let (asked, failed) = client.join().unwrap();
        assert_eq!(failed, 0, "of {asked}");
    }
}

/// The last stream that a GOAWAY frame speaks of, and its code.
fn goaway(frame: &Frame) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
    (number(0) & 0x7fff_ffff, number(4))
}

/// A client of several streams at a time may have others on their way whenever one has its answer.
#[test]
fn a_stream_that_crosses_the_word_of_leaving_is_served() {
    let echo = Echo::start();
    let gateway = start(&echo, "30s");
    let mut kept = Frames::open(&gateway.stranger());
    let block = frames::block(&frames::get("/"));
    let mut both = Vec::new();
    for stream in [1, 3] {
        frames::put(&mut both, HEADERS, WHOLE, stream, &block);
    }
    kept.send_bytes(&both);
    let mut answered = 0;
    while answered < 2 {
        let frame = kept.receive().expect("two answers");
        answered += u32::from(frame.kind == HEADERS);
    }
    begin(&gateway);
    let first = loop {
        let frame = kept.receive().expect("a word of leaving");
        if frame.kind == GOAWAY {
            break goaway(&frame);
        }
    };
    assert_eq!(
        first,
        (0x7fff_ffff, 0),
        "streams that are on their way count"
    );
    // The client has not read it yet.
    kept.send(HEADERS, WHOLE, 5, &block);
    let rest = kept.until_end();
    let heads: Vec<u32> = rest
        .iter()
        .filter(|frame| frame.kind == HEADERS)
        .map(|frame| frame.stream)
        .collect();
    assert_eq!(heads, [5], "{rest:?}");
    let last = rest.iter().rfind(|frame| frame.kind == GOAWAY).map(goaway);
    assert_eq!(last, Some((5, 0)));
    assert!(
        rest.iter().all(|frame| frame.kind != RST_STREAM),
        "{rest:?}"
    );
}

/// Some clients fail whatever is open when they are told to leave, so one that asks one thing at a time is told after
/// its answer, once, and nothing follows.
#[test]
fn a_client_of_one_request_at_a_time_is_told_after_its_answer() {
    let echo = Echo::start();
    let gateway = start(&echo, "30s");
    let block = frames::block(&frames::get("/bytes/100000"));
    let mut kept = Frames::open(&gateway.stranger());
    kept.send(HEADERS, WHOLE, 1, &block);
    let mut idle = Frames::open(&gateway.stranger());
    idle.send(HEADERS, WHOLE, 1, &block);
    for frames in [&mut kept, &mut idle] {
        let mut body = 0;
        while body < 100_000 {
            let frame = frames.receive().expect("an answer");
            if frame.kind == DATA {
                body += frame.payload.len();
                // What was taken may come again.
                let taken = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
                if frame.payload.is_empty() {
                    continue;
                }
                frames.send(WINDOW_UPDATE, 0, 0, &taken);
                frames.send(WINDOW_UPDATE, 0, 1, &taken);
            }
        }
    }
    begin(&gateway);
    kept.send(HEADERS, WHOLE, 3, &frames::block(&frames::get("/")));
    for (frames, last) in [(&mut kept, 3), (&mut idle, 1)] {
        let told = frames.until_end();
        let words: Vec<_> = told.iter().filter(|frame| frame.kind == GOAWAY).collect();
        assert_eq!(words.len(), 1, "{told:?}");
        assert_eq!(goaway(words[0]), (last, 0));
        assert_eq!(told.last().unwrap().kind, GOAWAY, "{told:?}");
        assert!(told.iter().all(|frame| frame.kind != PING), "{told:?}");
    }
}

/// A client that was turned away before its first request would come again, and give up in the end.
#[test]
fn a_new_connection_is_of_use_once_before_it_is_sent_away() {
    let echo = Echo::start();
    let gateway = start(&echo, "30s");
    begin(&gateway);
    let mut fresh = Frames::open(&gateway.stranger());
    fresh.send(PING, 0, 0, &[7; 8]);
    loop {
        let frame = fresh.receive().expect("the answer to a ping");
        assert_ne!(frame.kind, GOAWAY, "too early");
        if frame.kind == PING && frame.payload == [7; 8] {
            break;
        }
    }
    fresh.send(HEADERS, WHOLE, 1, &frames::block(&frames::get("/")));
    let told = fresh.until_end();
    assert!(told.iter().any(|frame| frame.kind == GOAWAY), "{told:?}");
    let answered = told.iter().find(|frame| frame.kind == HEADERS).unwrap();
    assert_eq!(frames::status(&answered.payload), 200);
}

#[test]
fn an_idle_connection_waits_for_its_next_request_and_ends_in_order() {
    let echo = Echo::start();
    let gateway = start(&echo, "2s");
    let mut idle = gateway.stranger().connect();
    assert_eq!(idle.get("/").status, 200);
    begin(&gateway);
    assert!(
        !idle.is_closed_within(Duration::from_millis(300)),
        "it may be used"
    );
    gateway.wait_until_closed();
    let ended = idle.read(&mut [0]);
    assert_eq!(ended.expect("a goodbye, and no reset"), 0);
}
