//! Field names with underscores, dots and other odd characters: dropped, refused or passed, and never another field.

use super::{seen, sent_as};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: / }, require: none, upstream: api }";

/// A gateway whose host does `rule` with odd names.
fn gateway(echo: &Echo, rule: &str) -> Gateway {
    let host = format!("  {HOST}:\n");
    let text = config(&echo.url(), ROUTES);
    Gateway::start(&text.replace(&host, &format!("{host}    header_names: {rule}\n")))
}

#[test]
fn a_harmless_odd_name_is_dropped_counted_and_written_down() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for (number, name) in ["ot-trace_id", "x.b3.sampled", "grpc_tags~bin", "a!b"]
        .iter()
        .enumerate()
    {
        let fields = [(*name, "1"), ("x-other", "kept")];
        for answer in [
            gateway.stranger().get_with("/", &fields),
            gateway.stranger().get_h2("/", &fields),
        ] {
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            assert_eq!(seen(&answer, name), [""; 0], "{name}");
            assert_eq!(seen(&answer, "x-other"), ["kept"]);
            let line = gateway.record_of(answer.header("x-request-id").unwrap());
            assert_eq!(line["dropped_field"], *name);
        }
        let counted = gateway.count("countersign_header_names_dropped_total");
        assert_eq!(counted, 2 * (number as u64 + 1));
    }
}

#[test]
fn a_host_may_refuse_odd_names_and_says_which() {
    let echo = Echo::start();
    let gateway = gateway(&echo, "refuse");
    for name in ["ot-trace_id", "x.b3", "a!b"] {
        let answer = gateway.stranger().get_with("/", &[(name, "1")]);
        let body = answer.json();
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (400, "header_invalid")
        );
        assert_eq!(body["rule"], "header_name");
        assert_eq!(body["sent"], name);
        assert!(body["detail"].as_str().unwrap().contains(name), "{body}");
        let line = gateway.record_of(answer.header("x-request-id").unwrap());
        assert_eq!(line["cause"], format!("header_name: {name}"));
    }
    assert_eq!(
        gateway.stranger().get_with("/", &[("x-plain", "1")]).status,
        200
    );
    let long = "a_".repeat(2000);
    let answer = gateway.stranger().get_with("/", &[(&long, "1")]);
    assert!(answer.body.len() < 1000, "what is repeated is bounded");
}

#[test]
fn a_host_may_pass_odd_names_but_none_that_stands_for_another_field() {
    let echo = Echo::start();
    let gateway = gateway(&echo, "pass");
    let good = [
        ("ot-trace_id", "1"),
        ("x.b3.sampled", "1"),
        ("grpc_tags~bin", "2"),
    ];
    let answer = gateway.stranger().get_with("/", &good);
    for (name, value) in good {
        assert_eq!(seen(&answer, name), [value], "{name}");
    }
    let forged = [
        "x_countersign_app_id",
        "X.Countersign~Scopes",
        "client_cert",
        "x_forwarded_for",
        "x_real_ip",
        "remote_user",
        "x_request_id",
        "x_api_key",
        "authorization_",
        "proxy_authorization",
        "content_type",
        "cookie_",
        "_forwarded",
    ];
    for name in forged {
        for answer in [
            gateway.stranger().get_with("/", &[(name, "forged")]),
            gateway
                .stranger()
                .get_h2("/", &[(&name.to_ascii_lowercase(), "forged")]),
        ] {
            assert_eq!(answer.status, 200, "{name}");
            assert!(
                !answer.text().contains("forged"),
                "{name}: {}",
                answer.text()
            );
        }
    }
    let twice = [("X-User", "real"), ("X_User", "forged")];
    let answer = gateway.stranger().get_with("/", &twice);
    assert!(!answer.text().contains("forged"), "{}", answer.text());
    assert!(gateway.count_of("countersign_header_spoof_attempts_total", "countersign") > 0);
}

#[test]
fn a_name_that_frames_or_routes_is_refused_whatever_the_host_says() {
    let echo = Echo::start();
    for rule in ["drop", "refuse", "pass"] {
        let gateway = gateway(&echo, rule);
        for name in [
            "Transfer_Encoding",
            "content.length",
            "Content_Length",
            "host_",
            "Connection~",
            "te_",
            "http2_settings",
        ] {
            let answer = gateway.stranger().get_with("/", &[(name, "5")]);
            assert_eq!(
                (answer.status, answer.reason().as_str()),
                (400, "header_invalid"),
                "{name}"
            );
            let told = answer.json()["sent"].as_str().unwrap().to_owned();
            assert_eq!(told, name.to_ascii_lowercase());
        }
        let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        let answer = sent_as(
            &gateway,
            &format!(
                "POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer_Encoding: chunked\r\nContent-Length: {}\r\n\r\n{smuggled}",
                smuggled.len()
            ),
        );
        assert_eq!(answer.status, 400);
    }
    assert_eq!(echo.requests(), 0);
}

/// A credential in an odd spelling proves nothing and goes nowhere.
#[test]
fn an_odd_spelling_of_a_credential_is_none() {
    let echo = Echo::start();
    let gateway = gateway(&echo, "pass");
    gateway.cli_json(&["app", "create", "acme"]);
    let (_, secret) = gateway.key("acme", &[]);
    let answer = gateway
        .stranger()
        .get_with("/key", &[("X_Api_Key", &secret)]);
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (401, "credential_missing")
    );
    let open = gateway.stranger().get_with("/", &[("X_Api_Key", &secret)]);
    assert!(!open.text().contains(&secret));
}

/// Names of trailers fold like those of a head, and a reader may put both together.
#[test]
fn no_odd_name_comes_in_by_a_trailer() {
    let echo = Echo::start();
    for rule in ["drop", "refuse", "pass"] {
        let gateway = gateway(&echo, rule);
        for name in [
            "x_countersign_app_id",
            "X.Countersign~Scopes",
            "X_Forwarded_For",
            "client_cert",
            "remote_user",
            "x_api_key",
            "Transfer_Encoding",
            "content.length",
            "host_",
            "connection~",
            "Cookie_",
        ] {
            let body = format!("3\r\nabc\r\n0\r\n{name}: forged\r\nX-Sum: 7\r\n\r\n");
            let answer = sent_as(
                &gateway,
                &format!(
                    "POST / HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\nTrailer: {name}\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
                ),
            );
            assert!(
                [200, 400].contains(&answer.status),
                "{rule} {name}: {answer:?}"
            );
            assert!(
                !answer.text().contains("forged"),
                "{rule} {name}: {}",
                answer.text()
            );
        }
        assert_eq!(gateway.stranger().get("/").status, 200);
    }
}

/// Fields that a caller lists in `Connection` go, in whichever spelling, and none that the gateway sets goes with them.
#[test]
fn an_odd_name_in_connection_takes_nothing_away() {
    let echo = Echo::start();
    for rule in ["drop", "pass"] {
        let gateway = gateway(&echo, rule);
        for listed in [
            "x_forwarded_for",
            "X.Forwarded.For, x_request_id",
            "X_Request_Id",
            "close, X~Forwarded~For",
        ] {
            let answer = gateway.stranger().get_with("/", &[("Connection", listed)]);
            assert_eq!(answer.status, 200, "{rule} {listed}: {answer:?}");
            assert_eq!(seen(&answer, "x-request-id").len(), 1, "{rule} {listed}");
            assert_eq!(seen(&answer, "x-forwarded-for").len(), 1, "{rule} {listed}");
        }
    }
}
