//! A key is good from its networks, until its end, and for as long as its successor needs.

use crate::support::client::{Answer, Partner};
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: /token }, require: token, upstream: api }";

/// A key made with these arguments: its id and its secret.
fn key(gateway: &Gateway, args: &[&str]) -> (String, String) {
    let made = gateway.cli_json(&[&["key", "create", "--app", "acme"], args].concat());
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (text(&made["key"]["id"]), text(&made["secret"]))
}

/// The reason in the record of a refusal, which may say more than the caller is told.
fn recorded(gateway: &Gateway, answer: &Answer) -> String {
    let line = gateway.record_of(answer.header("x-request-id").unwrap());
    line["reason"].as_str().unwrap_or_default().to_owned()
}

/// Somebody who calls from this address, as a load balancer says.
fn caller(gateway: &Gateway, address: &str) -> Partner {
    let header = format!("PROXY TCP4 {address} 127.0.0.1 5000 443\r\n");
    gateway.stranger().behind(header.as_bytes())
}

#[test]
fn a_key_opens_nothing_from_outside_its_networks() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let trusting = "\"127.0.0.1:0\", proxy_protocol: { trusted: [127.0.0.0/8] } }";
    let gateway = Gateway::start(&text.replacen("\"127.0.0.1:0\" }", trusting, 1));
    gateway.cli_json(&["app", "create", "acme"]);
    let networks = ["--network", "203.0.113.0/24", "--network", "192.0.2.7"];
    let (id, secret) = key(&gateway, &networks);
    let mut token = String::new();
    for (address, inside) in [
        ("203.0.113.7", true),
        ("203.0.113.255", true),
        ("192.0.2.7", true),
        ("203.0.114.1", false),
        ("192.0.2.8", false),
        ("127.0.0.1", false),
    ] {
        let partner = caller(&gateway, address);
        let before = echo.requests();
        let (called, exchanged) = (
            partner.get_by("/key", &secret),
            partner.exchange(&id, &secret),
        );
        if inside {
            assert_eq!((called.status, exchanged.status), (200, 200), "{address}");
            exchanged.json()["access_token"]
                .as_str()
                .unwrap()
                .clone_into(&mut token);
            assert_eq!(partner.get_by("/token", &token).status, 200, "{address}");
            continue;
        }
        assert_eq!(
            (called.status, called.reason().as_str()),
            (403, "key_network"),
            "{address}"
        );
        assert_eq!(recorded(&gateway, &called), "key_network");
        let by_token = partner.get_by("/token", &token);
        assert_eq!(
            (by_token.status, by_token.reason().as_str()),
            (403, "key_network"),
            "its tokens neither: {address}"
        );
        assert_eq!(
            (exchanged.status, exchanged.json()["error"].as_str()),
            (400, Some("unauthorized_client")),
            "{address}"
        );
        assert_eq!(echo.requests(), before, "{address}");
    }
}

#[test]
fn a_network_that_is_none_is_not_taken() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    for network in ["203.0.113.0/33", "203.0.113", "example.test", "::/129", ""] {
        let args = ["key", "create", "--app", "acme", "--network", network];
        assert_eq!(gateway.cli(&args).code, 2, "{network}");
    }
    let many: Vec<String> = (0..200).map(|n| format!("10.0.{n}.0/24")).collect();
    let many: Vec<&str> = many.iter().flat_map(|one| ["--network", one]).collect();
    let args = [&["key", "create", "--app", "acme"], &many[..]].concat();
    assert_eq!(gateway.cli(&args).code, 6);
    assert_eq!(gateway.cli_json(&["key", "list"]), serde_json::json!([]));
}

#[test]
fn a_key_ends_when_it_was_to_and_its_token_with_it() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    let (lasting, lasting_secret) = key(&gateway, &[]);
    let (id, secret) = key(&gateway, &["--expires", "2s"]);
    let rotated = gateway.cli_json(&["key", "rotate", &lasting, "--overlap", "2s"]);
    let successor = rotated["secret"].as_str().unwrap();
    let stranger = gateway.stranger();
    let minted = stranger.exchange(&id, &secret);
    // A machine that is busy for two seconds comes too late for it, which is as right.
    if minted.status == 200 {
        assert!(minted.json()["expires_in"].as_u64().unwrap() <= 2);
    }
    for (id, secret) in [(&id, &*secret), (&lasting, &*lasting_secret)] {
        let refused = eventually("the key has ended", || {
            let answer = stranger.get_by("/key", secret);
            (answer.status != 200).then_some(answer)
        });
        assert_eq!(
            (refused.status, refused.reason().as_str()),
            (401, "credential_invalid")
        );
        assert_eq!(recorded(&gateway, &refused), "key_expired");
        assert_eq!(gateway.cli_json(&["key", "get", id])["state"], "expired");
        let exchanged = stranger.exchange(id, secret);
        assert_eq!(exchanged.json()["error"], "invalid_client");
    }
    if let Some(token) = minted.json()["access_token"].as_str() {
        eventually("the token has ended", || {
            (stranger.get_by("/token", token).status == 401).then_some(())
        });
    }
    assert_eq!(stranger.get_by("/key", successor).status, 200);
    let expired = gateway.cli_json(&["key", "list", "--state", "expired"]);
    assert_eq!(expired.as_array().unwrap().len(), 2, "{expired}");
}
