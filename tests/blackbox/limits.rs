//! Allowances, counted to the request.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::gateway::{Gateway, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /app }, require: mtls, upstream: api, limit: { per: app, rate: 1/h, burst: 5 } }
      - { match: { prefix: /address }, require: none, upstream: api, limit: { per: address, rate: 2/h, burst: 2 } }
      - { match: { prefix: /both }, require: mtls, upstream: api, limits: [{ name: wide, per: route, rate: 1/h, burst: 9 }, { name: narrow, per: app, rate: 1/m, burst: 3 }] }
      - { match: { prefix: /key }, require: key, upstream: api }";

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
