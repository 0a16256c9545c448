//! Reloads that change TLS, beside clients that call all the time: nobody is refused for it, and what is stricter is
//! in force for all that comes after the receipt.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::client::{Answer, Connection, Partner};
use crate::support::gateway::{Enrolled, Gateway, HOST, config, config_with};
use crate::support::upstream::Echo;

const MTLS: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";
const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// A configuration whose only host has these settings of its own, beside these for all hosts.
fn with(echo: &Echo, routes: &str, host: &str, tls: &str) -> String {
    let text = config_with(&echo.url(), routes, tls);
    let named = format!("  {HOST}:\n");
    text.replace(&named, &format!("{named}    client_auth: {host}\n"))
}

fn good(answer: &Answer) -> bool {
    answer.status == 200
}

/// Calls again and again, each time on a fresh connection; gives the answers that are not good.
fn call_afresh(partner: &Partner, over: &AtomicBool, calls: &AtomicU64) -> Vec<String> {
    let mut bad = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let answer = partner.get("/x");
        calls.fetch_add(1, Ordering::Relaxed);
        if !good(&answer) {
            bad.push(format!("{} {}", answer.status, answer.reason()));
        }
    }
    bad
}

/// Calls again and again on one connection, and on the next when the gateway closes it between two requests.
fn call_again(partner: &Partner, over: &AtomicBool, calls: &AtomicU64) -> Vec<String> {
    let mut bad = Vec::new();
    let mut connection = partner.connect();
    while !over.load(Ordering::Relaxed) {
        let answer = connection.get("/x");
        calls.fetch_add(1, Ordering::Relaxed);
        if !good(&answer) {
            bad.push(format!("{} {} (kept)", answer.status, answer.reason()));
        }
        if answer.header("connection") == Some("close") {
            connection = partner.connect();
        }
    }
    bad
}

/// Reloads back and forth between two configurations beside clients that call; gives the answers that are not good.
fn reload_beside(gateway: &Gateway, partner: &Partner, texts: [&str; 2]) -> Vec<String> {
    let (over, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let (over, calls) = (&over, &calls);
        let afresh = (0..4).map(|_| scope.spawn(|| call_afresh(partner, over, calls)));
        let again = [scope.spawn(|| call_again(partner, over, calls))];
        let clients: Vec<_> = afresh.chain(again).collect();
        for turn in 0..16 {
            gateway.configure(texts[turn % 2]);
            gateway.cli(&["reload"]).ok();
        }
        over.store(true, Ordering::Relaxed);
        let bad = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        bad.collect()
    })
}

fn start(echo: &Echo) -> (Gateway, Enrolled) {
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    let acme = gateway.enrol("acme");
    (gateway, acme)
}

#[test]
fn no_request_is_refused_for_a_reload_that_changes_tls() {
    let echo = Echo::start();
    let (gateway, acme) = start(&echo);
    let host = |client_auth: &str| with(&echo, MTLS, client_auth, "");
    let all = |tls: &str| config_with(&echo.url(), MTLS, tls);
    for (what, one, other) in [
        (
            "the host's mode",
            host("{ mode: required }"),
            host("{ mode: optional }"),
        ),
        (
            "the host's rejection",
            host("{ reject: alert }"),
            host("{ reject: explain }"),
        ),
        (
            "mode and rejection of all hosts",
            all("tls: { client_auth: { mode: required, reject: alert } }"),
            all("tls: { client_auth: { mode: optional } }"),
        ),
        (
            "the oldest version",
            all("tls: { min_version: \"1.3\" }"),
            all("tls: { min_version: \"1.2\" }"),
        ),
        (
            "a policy of the host's own",
            host("{ mode: required }"),
            all("tls: { client_auth: { mode: optional } }"),
        ),
    ] {
        let bad = reload_beside(&gateway, &acme.partner, [&one, &other]);
        assert_eq!(bad, [""; 0], "{what}");
    }
    assert_eq!(
        gateway.count_of("countersign_refusals_total", "host_mismatch"),
        0
    );
}

#[test]
fn clients_without_a_certificate_go_on_when_the_host_begins_and_ends_to_ask_for_one() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN));
    let one = with(&echo, OPEN, "{ mode: \"off\" }", "");
    let other = with(&echo, OPEN, "{ mode: optional }", "");
    let bad = reload_beside(&gateway, &gateway.stranger(), [&one, &other]);
    assert_eq!(bad, [""; 0]);
}

/// One request on a connection of before a reload; the connection ends with its refusal.
fn refused_and_closed(mut kept: Connection, what: &str) {
    let answer = kept.get("/x");
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (421, "host_mismatch"),
        "{what}"
    );
    assert_eq!(answer.header("connection"), Some("close"), "{what}");
    assert!(kept.is_closed_within(Duration::from_secs(5)), "{what}");
}

#[test]
fn a_stricter_policy_is_in_force_for_connections_of_before_and_after_its_receipt() {
    let echo = Echo::start();
    let loose = config(&echo.url(), OPEN);
    let gateway = Gateway::start(&loose);
    let acme = gateway.enrol("acme");
    let old = gateway.stranger().over_tls12(&gateway.ca(), None);
    for (what, text, weak) in [
        (
            "a certificate is required",
            with(&echo, OPEN, "{ mode: required }", ""),
            gateway.stranger(),
        ),
        (
            "TLS 1.3 is required",
            config_with(&echo.url(), OPEN, "tls: { min_version: \"1.3\" }"),
            old,
        ),
    ] {
        gateway.configure(&loose);
        gateway.cli(&["reload"]).ok();
        // One that has served, and one whose first request comes after the reload.
        let (mut used, unused) = (weak.connect(), weak.connect());
        assert_eq!(used.get("/x").status, 200, "{what}");
        let mut strong = acme.partner.connect();
        assert_eq!(strong.get("/x").status, 200, "{what}");
        gateway.configure(&text);
        gateway.cli(&["reload"]).ok();
        let before = echo.requests();
        refused_and_closed(used, what);
        refused_and_closed(unused, what);
        let fresh = weak.try_connect(HOST);
        let answered = fresh.ok().and_then(|mut connection| {
            let _ = connection.try_send(b"GET / HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
            connection.try_answer()
        });
        assert!(answered.is_none(), "{what}");
        assert_eq!(echo.requests(), before, "{what}");
        assert_eq!(strong.get("/x").status, 200, "{what}");
        assert_eq!(acme.partner.get("/x").status, 200, "{what}");
    }
}

#[test]
fn what_was_proved_for_one_host_does_not_open_another_after_a_reload_either() {
    let echo = Echo::start();
    let strict = |mode: &str| {
        format!(
            "{OPEN}\n  strict.example.test:\n    client_auth: {{ mode: {mode} }}\n    routes:\n{MTLS}"
        )
    };
    let gateway = Gateway::start(&config(&echo.url(), &strict("optional")));
    let acme = gateway.enrol("acme");
    let ask = b"GET / HTTP/1.1\r\nHost: strict.example.test\r\n\r\n";
    let mut shared = acme.partner.connect();
    shared.send(ask);
    assert_eq!(shared.answer().status, 200, "the policies are equal");
    gateway.configure(&config(&echo.url(), &strict("required")));
    gateway.cli(&["reload"]).ok();
    shared.send(ask);
    let refused = shared.answer();
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (421, "host_mismatch")
    );
    assert_eq!(shared.get("/x").status, 200, "its own host goes on");
    let mut own = acme.partner.connect_as("strict.example.test");
    own.send(ask);
    assert_eq!(own.answer().status, 200);
}
