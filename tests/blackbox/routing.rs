//! Where a request goes, and what is nobody's.

use crate::support::gateway::{Gateway, config};
use crate::support::upstream::Echo;

const ROUTES: &str =
    "      - { match: { path: /v1/orders, methods: [GET] }, require: none, upstream: api }
      - { match: { path: \"/v1/orders/{id}\", methods: [GET, PUT] }, require: none, upstream: api }
      - { match: { prefix: /files }, require: none, upstream: api, ambiguous_paths: true }
      - { match: { prefix: /admin }, require: mtls, upstream: api }
      - { match: { prefix: /public }, require: none, upstream: api }";

fn started(echo: &Echo) -> Gateway {
    Gateway::start(&config(&echo.url(), ROUTES))
}

#[test]
fn unknown_is_404_before_anyone_is_401() {
    let echo = Echo::start();
    let gateway = started(&echo);
    let partner = gateway.stranger();
    assert_eq!(
        (
            partner.get("/nothing").status,
            partner.get("/nothing").reason().as_str()
        ),
        (404, "route_unknown")
    );
    assert_eq!(partner.get("/admin/x").status, 401);
    let mut connection = partner.connect();
    connection.send(b"GET /v1/orders HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n");
    assert_eq!(connection.answer().status, 404);
    assert_eq!(echo.requests(), 0);
}

#[test]
fn another_method_is_405_and_names_those_that_work() {
    let echo = Echo::start();
    let gateway = started(&echo);
    let answer = gateway.stranger().post("/v1/orders/7", &[], b"x");
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("GET, PUT"))
    );
}

#[test]
fn a_method_that_a_protected_path_does_not_name_reaches_no_open_route() {
    let echo = Echo::start();
    let routes =
        "      - { match: { path: /v1/orders, methods: [GET] }, require: mtls, upstream: api }
      - { match: { prefix: / }, require: none, upstream: api }";
    let gateway = Gateway::start(&config(&echo.url(), routes));
    let stranger = gateway.stranger();
    assert_eq!(stranger.get("/v1/orders").reason(), "cert_missing");
    let refused = stranger.post("/v1/orders", &[], b"x");
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("GET")),
        "{refused:?}"
    );
    assert_eq!(refused.reason(), "method_unknown");
    // The gateway's own endpoints are no holes to what lies around them either.
    assert_eq!(stranger.get("/oauth2/token").status, 405);
    assert_eq!(echo.requests(), 0);
    assert_eq!(stranger.post("/v1", &[], b"x").status, 200);
}

#[test]
fn what_came_is_what_is_forwarded() {
    let echo = Echo::start();
    let gateway = started(&echo);
    for (sent, arrived) in [
        ("/v1/orders/7?q=%2F..&x=1", "/v1/orders/7?q=%2F..&x=1"),
        ("/v1/%6frders/a%20b", "/v1/%6frders/a%20b"),
        ("/public/%7euser/%c3%a4", "/public/%7euser/%c3%a4"),
        ("/files/a//b/../c;d", "/files/a//b/../c;d"),
    ] {
        let answer = gateway.stranger().get(sent);
        assert_eq!(answer.status, 200, "{sent}: {answer:?}");
        assert_eq!(answer.json()["target"], arrived);
    }
    let mut absolute = gateway.stranger().connect();
    absolute
        .send(b"GET https://api.example.test/v1/orders HTTP/1.1\r\nHost: api.example.test\r\n\r\n");
    let answer = absolute.answer();
    assert_eq!(
        (answer.status, answer.json()["target"].as_str()),
        (200, Some("/v1/orders"))
    );
}

#[test]
fn a_protected_path_has_no_second_spelling() {
    let echo = Echo::start();
    let gateway = started(&echo);
    assert_eq!(gateway.stranger().get("/%61dmin/x").status, 401);
    for sent in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "//admin",
        "/public//admin",
        "/./admin",
        "/public\\..\\admin",
        "/public/%5c../admin",
        "/public;/admin",
        "/public/%00",
        "/public/%0d%0aX:y",
        "/admin%2fx",
        "/public/%252e%252e/admin",
        "/public/%c0%ae%c0%ae/admin",
        "/public/x#/admin",
    ] {
        let mut connection = gateway.stranger().connect();
        connection
            .send(format!("GET {sent} HTTP/1.1\r\nHost: api.example.test\r\n\r\n").as_bytes());
        assert_eq!(connection.answer().status, 400, "{sent}");
    }
    assert_eq!(echo.requests(), 0);
}

#[test]
fn a_host_is_found_by_its_name_then_by_its_domain_and_then_as_any() {
    let [exact, below, any] = std::array::from_fn(|_| Echo::start());
    let hosts = "      - { match: { prefix: /exact }, require: none, upstream: api }
  \"*.example.test\":
    routes:
      - { match: { prefix: / }, require: none, upstream: below }
  \"*\":
    routes:
      - { match: { prefix: /any }, require: none, upstream: any }";
    let upstreams = format!(
        "  below: {{ endpoints: [\"{}\"] }}\n  any: {{ endpoints: [\"{}\"] }}\nhosts:",
        below.url(),
        any.url()
    );
    let gateway = Gateway::start(&config(&exact.url(), hosts).replace("hosts:", &upstreams));
    let all = [&exact, &below, &any];
    for (host, path, expected) in [
        ("api.example.test", "/exact", Some(0)),
        // The host's own routes are all that it has: a wildcard adds none.
        ("api.example.test", "/other", None),
        ("api.example.test", "/any", None),
        ("other.example.test", "/other", Some(1)),
        ("OTHER.Example.Test.", "/other", Some(1)),
        ("other.example.test:8443", "/any", Some(1)),
        ("example.test", "/any", Some(2)),
        ("example.test", "/other", None),
        ("two.labels.example.test", "/any", Some(2)),
        ("two.labels.example.test", "/other", None),
        ("xexample.test", "/any", Some(2)),
        ("elsewhere.invalid", "/any", Some(2)),
        ("127.0.0.1", "/any", Some(2)),
    ] {
        let before = all.map(Echo::requests);
        let mut connection = gateway.stranger().connect();
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let answer = connection.answer();
        let mut after = before;
        if let Some(place) = expected {
            after[place] += 1;
        }
        assert_eq!(all.map(Echo::requests), after, "{host}{path}");
        let status = if expected.is_some() { 200 } else { 404 };
        assert_eq!(answer.status, status, "{host}{path}: {answer:?}");
    }
    // The certificate that the gateway makes for itself covers the wildcard.
    let mut connection = gateway.stranger().connect_as("other.example.test");
    assert_eq!(connection.get("/exact").status, 200);
}
