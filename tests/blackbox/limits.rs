//! Allowances, counted to the request.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /app }, require: mtls, upstream: api, limit: { per: app, rate: 1/h, burst: 5 } }
      - { match: { prefix: /address }, require: none, upstream: api, limit: { per: address, rate: 2/h, burst: 2 } }
      - { match: { prefix: /both }, require: mtls, upstream: api, limits: [{ name: wide, per: route, rate: 1/h, burst: 9 }, { name: narrow, per: app, rate: 1/m, burst: 3 }] }
      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: /per-key }, require: mtls_or_key, upstream: api, limit: { per: key, rate: 1/h, burst: 2 } }
      - { match: { prefix: /token }, require: token, upstream: api }";

#[test]
fn an_app_has_its_allowance_and_no_more_across_workers() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let zenith = gateway.enrol("zenith");
    let granted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..3 {
                    if acme.partner.get("/app").status == 200 {
                        granted.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(granted.load(Ordering::SeqCst), 5);
    assert_eq!(
        zenith.partner.get("/app").status,
        200,
        "another App has its own"
    );
}

#[test]
fn a_refusal_names_the_limit_and_says_when_to_come_back() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let partner = gateway.stranger();
    let first = partner.get("/address");
    assert!(
        first.header("ratelimit").unwrap().contains("r=1"),
        "{first:?}"
    );
    assert!(
        first.header("ratelimit-policy").unwrap().contains("q=2"),
        "{first:?}"
    );
    assert_eq!(partner.get("/address").status, 200);
    let refused = partner.get("/address");
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (429, "rate_limited")
    );
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=1800).contains(&wait), "{wait}");
    assert!(refused.json()["limit"].is_string(), "{refused:?}");
    assert_eq!(echo.requests(), 2);
}

#[test]
fn the_strictest_of_several_limits_answers_and_a_refusal_costs_nothing() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let statuses: Vec<u16> = (0..8).map(|_| acme.partner.get("/both").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 3);
    assert_eq!(acme.partner.get("/both").json()["limit"], "narrow");
    let zenith = gateway.enrol("zenith");
    let granted = (0..8)
        .filter(|_| zenith.partner.get("/both").status == 200)
        .count();
    assert_eq!(
        granted, 3,
        "what was refused has not used up the wider limit"
    );
    let third = gateway.enrol("third");
    assert_eq!(
        (0..8)
            .filter(|_| third.partner.get("/both").status == 200)
            .count(),
        3
    );
    let fourth = gateway.enrol("fourth");
    let refused = fourth.partner.get("/both");
    assert_eq!(
        (refused.status, refused.json()["limit"].as_str()),
        (429, Some("wide"))
    );
}

#[test]
fn failed_attempts_are_limited_per_address_before_they_cost_work() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES).replacen(
        "\"127.0.0.1:0\" }",
        "\"127.0.0.1:0\", auth_failures: { rate: 1/h, burst: 5 } }",
        1,
    );
    let gateway = Gateway::start(&text);
    let wrong = [("Authorization", "Bearer sk_live_nonsense")];
    let mut connection = gateway.stranger().connect();
    let statuses: Vec<u16> = (0..10)
        .map(|_| connection.request("GET", "/key", &wrong, b"").status)
        .collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 401).count(),
        5,
        "{statuses:?}"
    );
    assert_eq!(statuses.last(), Some(&429));
}

#[test]
fn each_key_has_its_allowance_and_who_shows_none_is_counted_by_app() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let second = gateway.enrol_again("acme", "second");
    let keys = [gateway.key("acme", &[]), gateway.key("acme", &[])];
    for (id, secret) in &keys {
        let stranger = gateway.stranger();
        // A token counts as the key that it was minted from does, and so does the key beside a certificate.
        let granted = [
            stranger.get_by("/per-key", secret),
            acme.partner.get_by("/per-key", secret),
        ];
        assert!(granted.iter().all(|answer| answer.status == 200), "{id}");
        let refused = stranger.get_by("/per-key", secret);
        assert_eq!(
            (refused.status, refused.json()["per"].as_str()),
            (429, Some("key"))
        );
    }
    assert_eq!(acme.partner.get("/per-key").status, 200);
    assert_eq!(second.partner.get("/per-key").status, 200);
    assert_eq!(
        acme.partner.get("/per-key").status,
        429,
        "both certificates are the App's"
    );
    assert_eq!(echo.requests(), 6);
}

#[test]
fn guesses_at_the_token_endpoint_are_limited_per_address() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES).replacen(
        "\"127.0.0.1:0\" }",
        "\"127.0.0.1:0\", auth_failures: { rate: 1/h, burst: 4 } }",
        1,
    );
    let gateway = Gateway::start(&text);
    let acme = gateway.enrol("acme");
    let (id, secret) = gateway.key("acme", &[]);
    let stranger = gateway.stranger();
    let token = stranger.token(&id, &secret);
    let bearer = [("Authorization", &*format!("Bearer {token}"))];
    let mut proved = stranger.connect();
    assert_eq!(proved.request("GET", "/token", &bearer, b"").status, 200);
    let statuses: Vec<u16> = (0..6)
        .map(|n| stranger.exchange(&id, &format!("sk_live_guess{n}")).status)
        .collect();
    assert_eq!(statuses, [401, 401, 401, 401, 429, 429]);
    let refused = stranger.exchange(&id, &secret);
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (429, "auth_rate_limited"),
        "the right one is not listened to either"
    );
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    // Who has proved itself already is not held up by others behind its address.
    assert_eq!(proved.request("GET", "/token", &bearer, b"").status, 200);
    assert_eq!(acme.partner.get("/app").status, 200);
}

#[test]
fn connections_are_bounded_in_all() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let bounded = "\"127.0.0.1:0\", connections_max: 3 }";
    let gateway = Gateway::start(&text.replacen("\"127.0.0.1:0\" }", bounded, 1));
    let mut held: Vec<_> = (0..3).map(|_| gateway.stranger().connect()).collect();
    assert!(gateway.stranger().try_connect(HOST).is_err());
    eventually("the refusal is counted", || {
        (gateway.handshakes_refused("connection_limit") == 1).then_some(())
    });
    for connection in &mut held {
        assert_eq!(connection.get("/nothing").status, 404);
    }
    drop(held);
    eventually("there is room again", || {
        let mut connection = gateway.stranger().try_connect(HOST).ok()?;
        (connection.get("/nothing").status == 404).then_some(())
    });
}
