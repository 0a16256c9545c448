//! One host, whether its usual port is said or not; and clients of HTTP/1.0, which may say none.

use super::{seen, sent_as};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /protected }, require: mtls, upstream: api }
      - { match: { prefix: / }, require: none, upstream: api }";

#[test]
fn the_port_of_the_scheme_is_the_same_authority() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for (target, host) in [
        (format!("https://{HOST}:443/x"), HOST.to_owned()),
        (format!("https://{HOST}/x"), format!("{HOST}:443")),
        (format!("http://{HOST}:80/x"), HOST.to_owned()),
        ("HTTPS://API.Example.Test:443/x".to_owned(), HOST.to_owned()),
    ] {
        let answer = sent_as(
            &gateway,
            &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        );
        assert_eq!(answer.status, 200, "{target} {host}: {answer:?}");
        assert_eq!(answer.json()["target"], "/x");
        assert_eq!(seen(&answer, "host"), [HOST]);
    }
}

/// The absolute form names the host that is judged, and no other one rides along.
#[test]
fn an_absolute_form_that_disagrees_is_refused() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for (target, host) in [
        (format!("https://{HOST}:443/x"), format!("{HOST}:8443")),
        (format!("https://{HOST}:80/x"), HOST.to_owned()),
        (format!("http://{HOST}:443/x"), HOST.to_owned()),
        (format!("https://{HOST}:443/x"), "other.test".to_owned()),
        ("https://other.test:443/x".to_owned(), HOST.to_owned()),
        (format!("https://{HOST}:443@other.test/x"), HOST.to_owned()),
        (format!("https://{HOST}:443/x"), String::new()),
        (format!("https://{HOST}:0443/x"), HOST.to_owned()),
    ] {
        let answer = sent_as(
            &gateway,
            &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        );
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (400, "host_invalid"),
            "{target} {host}"
        );
        assert!(answer.json()["rule"].is_string(), "{answer:?}");
    }
    assert_eq!(echo.requests(), 0);
    let answer = sent_as(
        &gateway,
        &format!("GET https://{HOST}:443/protected HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    );
    assert_eq!(answer.reason(), "cert_missing");
}

#[test]
fn http_1_0_without_a_host_is_served_where_every_host_is() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let everywhere = format!(
        "{text}  \"*\":\n    routes:\n      - {{ match: {{ prefix: /any }}, require: none, upstream: api }}\n"
    );
    let gateway = Gateway::start(&everywhere);
    let answer = sent_as(&gateway, "GET /any/x HTTP/1.0\r\n\r\n");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["target"], "/any/x");
    let forwarded = [
        seen(&answer, "x-forwarded-host"),
        seen(&answer, "forwarded"),
    ]
    .concat();
    assert_eq!(forwarded, ["for=127.0.0.1;proto=https"]);
    // The routes of a host that was not named are not found.
    let other = sent_as(&gateway, "GET /x HTTP/1.0\r\n\r\n");
    assert_eq!(
        (other.status, other.reason().as_str()),
        (404, "route_unknown")
    );
    for head in [
        "GET /any/x HTTP/1.1\r\n\r\n",
        "GET /any/x HTTP/1.0\r\nHost:\r\n\r\n",
        "GET /any/x HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(sent_as(&gateway, head).status, 400, "{head:?}");
    }
    let alone = Gateway::start(&text);
    let refused = sent_as(&alone, "GET /any/x HTTP/1.0\r\n\r\n");
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (400, "host_invalid")
    );
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("no Host"), "{detail}");
}
