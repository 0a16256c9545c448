//! Several addresses of one API, and how many connections there are to them and for how long.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::pki::{self, Stranger};
use crate::support::upstream::{Away, Echo, Held, Secured, misbehaving, read_head};

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// A configuration with one worker and these endpoints, whose upstream has these further settings.
fn with(endpoints: &[&str], settings: &str) -> String {
    config(&endpoints.join("\", \""), OPEN)
        .replace("workers: 2", "workers: 1")
        .replace("] }\nhosts", &format!("], {settings} }}\nhosts"))
}

/// An API that keeps its connections open, and how many of them it has seen begin and end.
#[derive(Default)]
struct Kept {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Kept {
    fn start() -> (String, Arc<Self>) {
        let kept = Arc::new(Self::default());
        let seen = Arc::clone(&kept);
        let url = misbehaving(move |mut stream, mut head| {
            seen.begun.fetch_add(1, Ordering::SeqCst);
            while head.ends_with("\r\n\r\n") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                head = read_head(&mut stream);
            }
            seen.ended.fetch_add(1, Ordering::SeqCst);
        });
        (url, kept)
    }
}

#[test]
fn requests_are_spread_over_the_endpoints() {
    let (one, two) = (Echo::start(), Echo::start());
    let pool = "pool: { connections_max: 50 }";
    let gateway = Gateway::start(&with(&[&one.url(), &two.url()], pool));
    let mut connection = gateway.stranger().connect();
    for _ in 0..60 {
        assert_eq!(connection.get("/").status, 200);
    }
    let (first, second) = (one.requests(), two.requests());
    assert_eq!(first + second, 60);
    assert!(first >= 5 && second >= 5, "{first} and {second}");
}

#[test]
fn the_endpoint_with_less_to_do_is_preferred() {
    let (held, echo) = (Held::start(), Echo::start());
    let gateway = Gateway::start(&with(&[held.url(), &echo.url()], ""));
    let mut waiting = Vec::new();
    // Whoever comes to the slow one stays there; everybody after is better off at the other.
    eventually("one request is at the slow endpoint", || {
        let mut connection = gateway.stranger().connect();
        let before = echo.requests();
        connection.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
        eventually("the request is somewhere", || {
            (held.arrived() > 0 || echo.requests() > before).then_some(())
        });
        waiting.push(connection);
        (held.arrived() > 0).then_some(())
    });
    let mut connection = gateway.stranger().connect();
    for _ in 0..20 {
        assert_eq!(connection.get("/").status, 200);
    }
    assert_eq!(held.arrived(), 1);
    held.answer();
    assert!(waiting.iter_mut().all(|one| one.answer().status == 200));
}

#[test]
fn an_endpoint_that_takes_no_connections_is_gone_around() {
    let away = Away::start();
    let closed = away.url();
    let echo = Echo::start();
    let gateway = Gateway::start(&with(&[&closed, &echo.url()], ""));
    for _ in 0..20 {
        assert_eq!(gateway.stranger().get("/").status, 200);
    }
    assert_eq!(echo.requests(), 20);
    assert!(gateway.count("countersign_upstream_ejections_total") >= 1);
    assert_eq!(gateway.count("countersign_upstream_healthy"), 1);
    let alone = Gateway::start(&with(
        &[&closed, &closed.replace("127.0.0.1", "localhost")],
        "",
    ));
    assert_eq!(alone.stranger().get("/").reason(), "upstream_unreachable");
    assert_eq!(alone.count("countersign_upstream_healthy"), 0);
}

#[test]
fn a_request_waits_its_turn_for_so_long_and_in_a_queue_of_so_many() {
    let held = Held::start();
    let pool = "pool: { connections_max: 1, queue_max: 1, queue_timeout: 500ms }";
    let gateway = Gateway::start(&with(&[held.url()], pool));
    let ask = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let [mut first, mut second, mut third] = std::array::from_fn(|_| gateway.stranger().connect());
    first.send(ask.as_bytes());
    held.wait_for(1);
    second.send(ask.as_bytes());
    eventually("the second waits", || {
        (gateway.count("countersign_http_requests_in_flight") == 2).then_some(())
    });
    for refused in [third.get("/"), second.answer()] {
        assert_eq!(
            (refused.status, refused.reason().as_str()),
            (503, "upstream_busy")
        );
        assert!(refused.header("retry-after").is_some());
    }
    // One that comes while there is a place to wait in gets its turn.
    second.send(ask.as_bytes());
    eventually("the second waits again", || {
        (gateway.count("countersign_http_requests_in_flight") == 2).then_some(())
    });
    held.answer();
    assert_eq!((first.answer().status, second.answer().status), (200, 200));
    assert_eq!(held.arrived(), 2);
}

#[test]
fn connections_that_nobody_uses_are_let_go() {
    let (url, kept) = Kept::start();
    let gateway = Gateway::start(&with(&[&url], "pool: { idle_timeout: 100ms }"));
    assert_eq!(gateway.stranger().get("/").status, 200);
    eventually("the connection ends", || {
        (kept.ended.load(Ordering::SeqCst) == 1).then_some(())
    });
    assert_eq!(gateway.stranger().get("/").status, 200);
    assert_eq!(kept.begun.load(Ordering::SeqCst), 2);
}

#[test]
fn no_more_connections_are_kept_than_may_be() {
    let (one, two) = (Kept::start(), Kept::start());
    let endpoints = [one.0.as_str(), two.0.as_str()];
    let gateway = Gateway::start(&with(&endpoints, "pool: { idle_max: 1 }"));
    let count = |which: fn(&Kept) -> &AtomicU64| {
        which(&one.1).load(Ordering::SeqCst) + which(&two.1).load(Ordering::SeqCst)
    };
    let mut connection = gateway.stranger().connect();
    eventually("both endpoints have been used", || {
        assert_eq!(connection.get("/").status, 200);
        let used = [&one.1, &two.1].map(|kept| kept.begun.load(Ordering::SeqCst) > 0);
        (used == [true, true]).then_some(())
    });
    eventually("all but one have ended", || {
        (count(|kept| &kept.begun) == count(|kept| &kept.ended) + 1).then_some(())
    });
}

#[test]
fn an_old_connection_takes_no_further_request() {
    let (url, kept) = Kept::start();
    let gateway = Gateway::start(&with(&[&url], "pool: { age_max: 200ms }"));
    let mut connection = gateway.stranger().connect();
    let mut requests = 0;
    eventually("a second connection is opened", || {
        assert_eq!(connection.get("/").status, 200);
        requests += 1;
        (kept.begun.load(Ordering::SeqCst) > 1).then_some(())
    });
    assert!(requests > 2, "the first was used for more than one request");
    eventually("the first has ended", || {
        (kept.ended.load(Ordering::SeqCst) >= 1).then_some(())
    });
}

#[test]
fn the_systems_authorities_are_trusted_where_no_other_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Stranger::new(dir.path(), "public", "/CN=Public");
    let made = pki::request(dir.path(), "backend");
    let names = "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth";
    let server = Secured::start(&authority.sign(&made, names), &made.key);
    let text = config(&server.url(), OPEN);
    let system = authority.certificate();
    let trusting = Gateway::start_with(&text, &[("SSL_CERT_FILE", &system)]);
    assert_eq!(trusting.stranger().get("/").status, 200);
    let other = Stranger::new(dir.path(), "other", "/CN=Other").certificate();
    let distrusting = Gateway::start_with(&text, &[("SSL_CERT_FILE", &other)]);
    let refused = distrusting.stranger().get("/");
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (502, "upstream_tls")
    );
}
