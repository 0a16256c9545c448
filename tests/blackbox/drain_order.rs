//! The order of a drain, by whichever way it begins: readiness first, then listeners, then what runs; and clients that
//! ask without a pause lose nothing on the way.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Answer, Connection, Partner, WEBSOCKET};
use crate::support::eventually::eventually;
use crate::support::frames::{
    self, ACK, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, WINDOW_UPDATE,
};
use crate::support::gateway::{Gateway, HOST, config, draining};
use crate::support::upstream::{Echo, Held};

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api, upgrades: true }";
const MOMENTS: Duration = Duration::from_secs(10);

fn start(upstream: &str, settings: &str) -> Gateway {
    Gateway::start(&draining(&config(upstream, OPEN), settings))
}

/// An operator of the admin API.
struct Operator {
    connection: Connection,
    bearer: String,
}

impl Operator {
    fn new(gateway: &Gateway) -> Self {
        let made = gateway.cli_json(&["admin-token", "create", "tests", "--role", "admin"]);
        let bearer = format!("Bearer {}", made["secret"].as_str().unwrap());
        let partner = Partner::new(gateway.admin(), "localhost", &gateway.ca(), None);
        Self {
            connection: partner.connect(),
            bearer,
        }
    }

    fn call(&mut self, method: &str, body: &Value) -> Answer {
        let body = match method {
            "GET" => String::new(),
            _ => body.to_string(),
        };
        let fields = [
            ("Authorization", self.bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        self.connection
            .request(method, "/api/v1/drain", &fields, body.as_bytes())
    }
}

/// What a new client and a load balancer find at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Served,
    /// The connection was closed before its first request was answered.
    Closed,
    Refused,
}

fn found(gateway: &Gateway, stranger: &Partner) -> Found {
    match TcpStream::connect(gateway.partners()) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            return Found::Refused;
        }
        Ok(probe) => drop(probe),
    }
    let asked = stranger.try_connect(HOST).ok().and_then(|mut connection| {
        let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        connection.try_send(request.as_bytes()).ok()?;
        connection.try_answer()
    });
    asked.map_or(Found::Closed, |answer| {
        assert_eq!(answer.status, 200);
        Found::Served
    })
}

#[test]
fn readiness_fails_then_connections_are_refused_however_it_begins() {
    let by_signal = |gateway: &Gateway| gateway.signal("TERM");
    let by_command = |gateway: &Gateway| drop(gateway.cli_json(&["drain"]));
    let by_api = |gateway: &Gateway| {
        let answer = Operator::new(gateway).call("POST", &json!({}));
        assert_eq!(answer.status, 202, "{answer:?}");
    };
    let ways: [&dyn Fn(&Gateway); 3] = [&by_signal, &by_command, &by_api];
    for begin in ways {
        let echo = Echo::start();
        let mut gateway = start(&echo.url(), "delay: 700ms");
        let stranger = gateway.stranger();
        // It keeps the process until the end of the test.
        let mut tunnel = stranger.connect();
        assert_eq!(tunnel.request("GET", "/ws", &WEBSOCKET, b"").status, 101);
        assert_eq!(gateway.ops_get("/readyz").0, 200);
        begin(&gateway);
        let mut course = Vec::new();
        while course
            .last()
            .is_none_or(|(found, _)| *found != Found::Refused)
        {
            let found = found(&gateway, &stranger);
            // Asked after the connection: it may have failed since, but cannot have recovered.
            course.push((found, gateway.ops_get("/readyz").0));
        }
        let early = course
            .iter()
            .find(|(found, ready)| *found != Found::Served && *ready != 503);
        assert_eq!(early, None, "refused while it was ready: {course:?}");
        let both = course.iter().filter(|step| **step == (Found::Served, 503));
        assert!(both.count() > 1, "served after readiness: {course:?}");
        assert_eq!(gateway.ops_get("/livez").0, 200, "it is alive");
        assert_eq!(
            gateway.wait(Duration::ZERO),
            None,
            "it waits for the tunnel"
        );
        assert_eq!(found(&gateway, &stranger), Found::Refused);
        drop(tunnel);
        assert_eq!(gateway.wait(MOMENTS), Some(0));
    }
}

#[test]
fn its_course_is_told_over_the_api_to_the_end() {
    let held = Held::start();
    let mut gateway = start(held.url(), "delay: 1ms");
    let mut operator = Operator::new(&gateway);
    let serving = operator.call("GET", &json!({})).json();
    assert_eq!(
        (&serving["state"], &serving["requests"]),
        (&json!("serving"), &json!(0))
    );
    let mut running = gateway.stranger().connect();
    running.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
    held.wait_for(1);
    assert_eq!(operator.call("POST", &json!({})).status, 202);
    let going = eventually("its course is told", || {
        let told = operator.call("GET", &json!({})).json();
        (told["state"] == "draining" && told["connections"] == 1).then_some(told)
    });
    assert_eq!(
        (&going["requests"], &going["requests_cut"]),
        (&json!(1), &json!(0))
    );
    // To ask for it again changes nothing.
    assert_eq!(operator.call("POST", &json!({})).status, 202);
    held.answer();
    assert_eq!(running.answer().status, 200);
    let drained = eventually("it has drained", || {
        let told = operator.call("GET", &json!({})).json();
        (told["state"] == "drained").then_some(told)
    });
    assert_eq!(
        (&drained["requests"], &drained["requests_cut"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(gateway.wait(MOMENTS), Some(0));
}

/// The requests that a client got no answer to, and those that it made.
#[derive(Debug, Default)]
struct Tally {
    made: u32,
    lost: u32,
}

/// Asks on one connection for as long as it is kept, and goes elsewhere when it is told to.
fn ask_until_told(partner: &Partner) -> Tally {
    let mut tally = Tally::default();
    let mut connection = partner.connect();
    loop {
        tally.made += 1;
        connection.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
        match connection.try_answer() {
            Some(answer) if answer.header("connection") == Some("close") => return tally,
            Some(answer) => assert_eq!(answer.status, 200),
            None => {
                tally.lost += 1;
                return tally;
            }
        }
    }
}

/// Keeps some requests running on one HTTP/2 connection until it is told to go elsewhere, and waits for their answers.
fn ask_at_once_until_told(partner: &Partner, running_max: u32) -> Tally {
    let mut tally = Tally::default();
    let mut frames = Frames::open(partner);
    let block = frames::block(&frames::get("/bytes/3000"));
    let mut told = false;
    let mut running = 0;
    loop {
        // As every client does, it looks at all frames that have come before it sends the next request.
        while !told && running < running_max && !frames.connection.has_bytes() {
            frames.send(
                HEADERS,
                END_STREAM | END_HEADERS,
                2 * tally.made + 1,
                &block,
            );
            tally.made += 1;
            running += 1;
        }
        if running == 0 && told {
            return tally;
        }
        let Some(frame) = frames.receive() else {
            tally.lost = running;
            return tally;
        };
        match frame.kind {
            GOAWAY => told = true,
            PING if frame.flags & ACK == 0 => {
                frames.send(PING, ACK, 0, &frame.payload);
            }
            DATA => {
                running -= u32::from(frame.flags & END_STREAM != 0);
                let taken = u32::try_from(frame.payload.len()).unwrap();
                // The rest fits into the window.
                if taken > 0 {
                    frames.send(WINDOW_UPDATE, 0, 0, &taken.to_be_bytes());
                }
            }
            _ => {}
        }
    }
}

#[test]
fn clients_that_ask_without_a_pause_lose_no_request() {
    let echo = Echo::start();
    let mut gateway = start(&echo.url(), "delay: 500ms");
    let mut clients = Vec::new();
    for running_max in [0, 0, 0, 0, 2, 5] {
        let partner = gateway.stranger();
        clients.push(thread::spawn(move || match running_max {
            0 => ask_until_told(&partner),
            _ => ask_at_once_until_told(&partner, running_max),
        }));
    }
    eventually("they ask", || (echo.requests() > 200).then_some(()));
    gateway.signal("TERM");
    let mut answered = 0;
    for client in clients {
        let tally = client.join().unwrap();
        assert_eq!(tally.lost, 0, "{tally:?}");
        answered += tally.made;
    }
    assert_eq!(echo.requests(), u64::from(answered), "none was sent twice");
    assert_eq!(gateway.wait(MOMENTS), Some(0));
    assert!(gateway.log().contains("drained requests_cut=0"));
}

/// The GOAWAY frame comes with the last answer, so no request of such a client crosses it.
#[test]
fn a_client_with_one_request_at_a_time_loses_none() {
    let echo = Echo::start();
    let mut gateway = start(&echo.url(), "delay: 500ms");
    let mut clients = Vec::new();
    for _ in 0..3 {
        let partner = gateway.stranger();
        clients.push(thread::spawn(move || ask_at_once_until_told(&partner, 1)));
    }
    eventually("they ask", || (echo.requests() > 50).then_some(()));
    gateway.signal("TERM");
    let tallies: Vec<Tally> = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .collect();
    let answered: u32 = tallies.iter().map(|tally| tally.made - tally.lost).sum();
    assert!(tallies.iter().all(|tally| tally.lost == 0), "{tallies:?}");
    assert_eq!(echo.requests(), u64::from(answered), "{tallies:?}");
    assert_eq!(gateway.wait(MOMENTS), Some(0));
}

/// A client that opens a connection for each request may lose the last one, which can be sent again elsewhere.
#[test]
fn what_is_not_answered_at_the_last_moment_has_not_reached_the_upstream() {
    let echo = Echo::start();
    let mut gateway = start(&echo.url(), "delay: 300ms");
    let ask = |partner: Partner| {
        let mut tally = Tally::default();
        while let Ok(mut connection) = partner.try_connect(HOST) {
            tally.made += 1;
            let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
            let sent = connection.try_send(request.as_bytes());
            let answer = sent.ok().and_then(|()| connection.try_answer());
            tally.lost += u32::from(answer.is_none());
        }
        tally
    };
    let mut clients = Vec::new();
    for _ in 0..4 {
        let partner = gateway.stranger();
        clients.push(thread::spawn(move || ask(partner)));
    }
    eventually("they ask", || (echo.requests() > 50).then_some(()));
    gateway.signal("TERM");
    let tallies: Vec<Tally> = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .collect();
    let answered: u32 = tallies.iter().map(|tally| tally.made - tally.lost).sum();
    assert_eq!(echo.requests(), u64::from(answered), "{tallies:?}");
    assert_eq!(gateway.wait(MOMENTS), Some(0));
}
