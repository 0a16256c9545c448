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
fn what_is_matched_is_what_is_forwarded() {
    let echo = Echo::start();
    let gateway = started(&echo);
    for (sent, arrived) in [
        ("/v1/orders/7?q=%2F..&x=1", "/v1/orders/7?q=%2F..&x=1"),
        ("/v1/%6frders/a%20b", "/v1/orders/a%20b"),
        ("/public/%7euser/%c3%a4", "/public/~user/%C3%A4"),
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
