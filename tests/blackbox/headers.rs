//! Identity headers cannot be forged, and say what was proved.

use serde_json::Value;

use crate::support::client::Answer;
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /open }, require: none, upstream: api }
      - { match: { prefix: /keep }, require: key, keep_credential: true, upstream: api }
      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: / }, require: mtls, upstream: api }";

/// The values of a field as the upstream saw them.
fn seen(answer: &Answer, name: &str) -> Vec<String> {
    let told = answer.json();
    let fields = told["headers"].as_array().unwrap();
    let values = fields
        .iter()
        .filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name));
    values
        .map(|pair| pair[1].as_str().unwrap().to_owned())
        .collect()
}

fn names(answer: &Answer) -> Vec<String> {
    let told = answer.json();
    let fields = told["headers"].as_array().unwrap();
    fields
        .iter()
        .map(|pair| pair[0].as_str().unwrap().to_ascii_lowercase())
        .collect()
}

#[test]
fn the_upstream_sees_who_was_proved() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    for answer in [acme.partner.get("/v1"), acme.partner.get_h2("/v1", &[])] {
        assert_eq!(answer.status, 200);
        assert_eq!(seen(&answer, "x-countersign-app-name"), ["acme"]);
        assert!(seen(&answer, "x-countersign-app-id")[0].starts_with("app_"));
        assert_eq!(seen(&answer, "x-countersign-auth-method"), ["mtls"]);
        assert_eq!(
            seen(&answer, "x-countersign-credential-id"),
            [acme.id.as_str()]
        );
        assert_eq!(
            seen(&answer, "x-countersign-client-cert-serial"),
            [acme.serial.as_str()]
        );
        assert_eq!(
            seen(&answer, "x-countersign-client-cert-sha256")[0].len(),
            64
        );
        assert_eq!(seen(&answer, "x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen(&answer, "x-forwarded-proto"), ["https"]);
        assert_eq!(seen(&answer, "x-forwarded-host"), [HOST]);
        assert_eq!(seen(&answer, "host"), [HOST]);
        assert!(seen(&answer, "forwarded")[0].contains("proto=https"));
        assert!(seen(&answer, "x-request-id")[0].starts_with("req_"));
        assert_eq!(seen(&answer, "traceparent")[0].len(), 55);
    }
}

#[test]
fn a_forged_identity_never_reaches_the_upstream_on_any_route() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let forged = [
        ("X-Countersign-App-Id", "app_forged"),
        ("x-countersign-app-id", "app_forged"),
        ("X-COUNTERSIGN-Anything", "forged"),
        ("X-Countersign-Scopes", "forged"),
        ("Client-Cert", ":Zm9yZ2Vk:"),
        ("Client-Cert-Chain", ":Zm9yZ2Vk:"),
        ("X-Forwarded-Client-Cert", "Hash=forged"),
        ("X-SSL-Client-Verify", "forged"),
        ("SSL-Client-Cert", "forged"),
        ("X-Client-Cert", "forged"),
        ("X-Real-IP", "6.6.6.6"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Forwarded-Host", "forged.test"),
        ("Remote-User", "forged"),
        ("X-Consumer-Id", "forged"),
        ("X-Amzn-Mtls-Clientcert", "forged"),
    ];
    for partner in [&acme.partner, &gateway.stranger()] {
        for answer in [
            partner.get_with("/open", &forged),
            partner.get_h2("/open", &forged.map(|(name, value)| (lower(name), value))),
        ] {
            assert_eq!(answer.status, 200, "{answer:?}");
            let text = answer.text().to_ascii_lowercase();
            for trace in ["forged", "6.6.6.6", "zm9yz2vk"] {
                assert!(!text.contains(trace), "{trace} in {text}");
            }
        }
    }
    assert_eq!(
        seen(
            &gateway.stranger().get_with("/open", &forged),
            "x-countersign-app-id"
        )
        .len(),
        0
    );
    assert!(gateway.ops_get("/metrics").1.lines().any(|line| {
        line.starts_with("countersign_header_spoof_attempts_total") && !line.ends_with(" 0")
    }));
}

fn lower(name: &'static str) -> &'static str {
    Box::leak(name.to_ascii_lowercase().into_boxed_str())
}

#[test]
fn look_alikes_of_header_names_are_taken_off_or_refused() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for name in [
        "X_Countersign_App_Id",
        "x-countersign_app-id",
        "X.Countersign.App.Id",
        "X~Countersign~App~Id",
        "X+Countersign+App+Id",
        "Some_Header",
    ] {
        let answer = gateway.stranger().get_with("/open", &[(name, "forged")]);
        assert_eq!(answer.status, 200, "{name}");
        assert!(!answer.text().contains("forged"), "{name}: {answer:?}");
    }
    let before = echo.requests();
    for name in ["Transfer_Encoding", "Content_Length"] {
        let answer = gateway.stranger().get_with("/open", &[(name, "1")]);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (400, "header_invalid"),
            "{name}"
        );
    }
    assert_eq!(echo.requests(), before);
    assert_eq!(gateway.stranger().get("/open").status, 200);
}

#[test]
fn connection_cannot_take_identity_away() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let tricks = [
        (
            "Connection",
            "close, X-Countersign-App-Id, x-countersign-app-name, X-Forwarded-For, X-Mine",
        ),
        ("X-Mine", "1"),
    ];
    let answer = acme.partner.get_with("/v1", &tricks);
    assert_eq!(seen(&answer, "x-countersign-app-name"), ["acme"]);
    assert_eq!(seen(&answer, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen(&answer, "x-mine"), Vec::<String>::new());
    let needed = acme
        .partner
        .get_with("/v1", &[("Connection", "close, Host")]);
    assert_eq!(
        needed.status, 400,
        "what a request needs cannot be taken off"
    );
}

#[test]
fn fields_for_one_hop_stay_there() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let sent = [
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "gzip"),
        ("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
    ];
    let answer = gateway.stranger().get_with("/open", &sent);
    let passed = names(&answer);
    for (name, _) in sent {
        assert!(!passed.contains(&name.to_ascii_lowercase()), "{name}");
    }
    let back = gateway.stranger().get("/open/hop");
    assert_eq!(back.header("x-private"), None);
    assert_eq!(
        back.header("x-countersign-app-id"),
        None,
        "an upstream does not speak in the gateway's name"
    );
}

#[test]
fn the_callers_own_key_stays_at_the_gate_unless_a_route_keeps_it() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    let (id, secret) = gateway.key("acme", &[]);
    let bearer = format!("Bearer {secret}");
    let fields = [("Authorization", bearer.as_str()), ("X-Other", "kept")];
    let answer = gateway.stranger().get_with("/key", &fields);
    assert_eq!(answer.status, 200);
    assert_eq!(seen(&answer, "authorization").len(), 0);
    assert_eq!(seen(&answer, "x-other"), ["kept"]);
    assert_eq!(seen(&answer, "x-countersign-credential-id"), [id]);
    assert_eq!(seen(&answer, "x-countersign-auth-method"), ["key"]);
    assert_eq!(
        seen(
            &gateway.stranger().get_with("/keep", &fields),
            "authorization"
        ),
        [&*bearer]
    );
    assert!(!gateway.log().contains(&secret));
}

#[test]
fn a_second_host_or_one_that_disagrees_is_refused() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for head in [
        "GET /open HTTP/1.1\r\nHost: api.example.test\r\nHost: other.test\r\n\r\n",
        "GET /open HTTP/1.1\r\nHost: api.example.test\r\nHost: api.example.test\r\n\r\n",
        "GET /open HTTP/1.1\r\n\r\n",
        "GET /open HTTP/1.1\r\nHost: \r\n\r\n",
        "GET /open HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /open HTTP/1.1\r\nHost: api.example.test/x\r\n\r\n",
        "GET https://other.test/open HTTP/1.1\r\nHost: api.example.test\r\n\r\n",
    ] {
        let mut connection = gateway.stranger().connect();
        connection.send(head.as_bytes());
        assert_eq!(connection.answer().status, 400, "{head:?}");
    }
    assert_eq!(echo.requests(), 0);
}

#[test]
fn trailers_carry_no_identity() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let mut connection = gateway.stranger().connect();
    connection.send(
        b"POST /open HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Countersign-App-Id: forged\r\nX-Checksum: 7\r\n\r\n",
    );
    let answer = connection.answer();
    assert_eq!(answer.status, 200);
    let told: Value = answer.json();
    assert!(!told.to_string().contains("forged"), "{told}");
    assert_eq!(told["body"], "abc");
}

#[test]
fn a_request_id_is_ours_and_is_told_to_both_sides() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let answer = gateway.stranger().get_with(
        "/open",
        &[("X-Request-Id", "mine"), ("traceparent", "nonsense")],
    );
    let told = answer.header("x-request-id").unwrap().to_owned();
    assert!(told.starts_with("req_"));
    assert_eq!(seen(&answer, "x-request-id"), [&*told]);
    assert!(seen(&answer, "traceparent")[0].starts_with("00-"));
    assert_eq!(gateway.record_of(&told)["status"], 200);
}
