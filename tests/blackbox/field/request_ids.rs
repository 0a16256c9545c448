//! A caller's own name for its request is found in the log, and told to the upstream where the operator wants it.

use super::seen;
use crate::support::gateway::{Gateway, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

#[test]
fn a_callers_request_id_is_in_the_access_line() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let long = "x".repeat(500);
    for (sent, kept) in [
        ("order-4711", Some("order-4711")),
        ("a{\"b\"}/c=", Some("a{\"b\"}/c=")),
        (long.as_str(), Some(&long[..128])),
        ("two words", None),
    ] {
        for answer in [
            gateway.stranger().get_with("/", &[("X-Request-Id", sent)]),
            gateway.stranger().get_h2("/", &[("x-request-id", sent)]),
        ] {
            let ours = answer.header("x-request-id").unwrap();
            assert!(ours.starts_with("req_"));
            let line = gateway.record_of(ours);
            assert_eq!(line["caller_request_id"].as_str(), kept, "{sent}");
            // The caller's is not passed off as ours.
            assert_eq!(seen(&answer, "x-request-id"), [ours]);
            assert!(!answer.json()["headers"].to_string().contains(sent));
        }
    }
}

#[test]
fn an_operator_may_have_it_passed_on_under_a_name_that_nobody_else_sets() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let http = "\"127.0.0.1:0\", http: { caller_request_id: X-Caller-Request-Id } }";
    let gateway = Gateway::start(
        &text
            .replacen("\"127.0.0.1:0\" }", http, 1)
            .replace("    routes:\n", "    header_names: pass\n    routes:\n"),
    );
    let forged = [
        ("X-Caller-Request-Id", "forged"),
        ("x-caller-request-id", "forged"),
        ("X_Caller_Request_Id", "forged"),
        ("X-Caller.Request-Id", "forged"),
    ];
    for id in [Some("order-4711"), None] {
        let mut fields = forged.to_vec();
        fields.extend(id.map(|id| ("X-Request-Id", id)));
        let answer = gateway.stranger().get_with("/", &fields);
        assert_eq!(answer.status, 200);
        let expected: Vec<_> = id.into_iter().collect();
        assert_eq!(seen(&answer, "x-caller-request-id"), expected);
        assert!(!answer.text().contains("forged"), "{}", answer.text());
    }
}
