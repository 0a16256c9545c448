//! An App's settings say what its partner may use, and how.

use serde_json::{Value, json};

use crate::support::gateway::{Gateway, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: /token }, require: token, upstream: api }";

fn gateway() -> (Gateway, Echo) {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    (gateway, echo)
}

/// The App after `app set` with these fields.
fn set(gateway: &Gateway, fields: &[&str]) -> Value {
    let answer = gateway.cli_json(&[&["app", "set", "acme"], fields].concat());
    assert_eq!(answer["receipt"]["confirmed"], json!(true), "{answer}");
    answer["app"].clone()
}

#[test]
fn an_apps_settings_are_set_shown_and_set_back() {
    let (gateway, _echo) = gateway();
    let app = set(
        &gateway,
        &[
            "contact=ops@acme.example, https://acme.example",
            "environment=test",
            "auth_methods=client_secret_basic,private_key_jwt",
            "secure_mode=off",
            "callbacks=https://acme.example/hook",
            "certificates_max=4",
            "keys_max=5",
        ],
    );
    let shown = gateway.cli_json(&["app", "get", "acme"]);
    assert_eq!(app, shown);
    assert_eq!(
        shown["auth_methods"],
        json!(["client_secret_basic", "private_key_jwt"])
    );
    assert_eq!(shown["callbacks"], json!(["https://acme.example/hook"]));
    assert_eq!(shown["secure_mode"], json!("off"));
    let trail = gateway.cli_json(&["audit", "list", "--app", "acme", "--limit", "1"]);
    assert_eq!(trail[0]["action"], json!("app.set"), "{trail}");
    assert_eq!(
        trail[0]["detail"]["before"]["certificates_max"],
        json!(null)
    );
    assert_eq!(trail[0]["detail"]["after"]["certificates_max"], json!(4));
    let all = [
        "contact=",
        "environment=",
        "auth_methods=",
        "secure_mode=",
        "callbacks=",
    ];
    let app = set(&gateway, &all);
    assert_eq!(app["auth_methods"], json!(null));
    assert_eq!(
        (&app["environment"], &app["keys_max"]),
        (&json!("live"), &json!(5))
    );
}

#[test]
fn sp_01_secure_mode_is_never_off_for_a_live_app() {
    let (gateway, _echo) = gateway();
    let refused = gateway.cli(&["app", "set", "acme", "secure_mode=off"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(
        refused.stderr.contains("environment test only"),
        "{refused:?}"
    );
    set(&gateway, &["environment=test", "secure_mode=off"]);
    let refused = gateway.cli(&["app", "set", "acme", "environment=live"]);
    assert_eq!(refused.code, 6, "{refused:?}");
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let (gateway, _echo) = gateway();
    for (field, said) in [
        ("mtls=sometimes", "sometimes"),
        ("mtsl=always", "mtsl"),
        ("keys_max=0", "keys_max is from 1 to 1000"),
        ("callbacks=http://acme.example", "http://acme.example"),
        ("auth_methods=password", "password"),
    ] {
        let refused = gateway.cli(&["app", "set", "acme", field]);
        assert_eq!(refused.code, 6, "{refused:?}");
        assert!(refused.stderr.contains(said), "{refused:?}");
    }
    let unknown = gateway.cli(&["app", "set", "nobody", "mtls=always"]);
    assert_eq!(unknown.code, 3, "{unknown:?}");
}

#[test]
fn an_app_has_as_many_keys_as_it_may() {
    let (gateway, _echo) = gateway();
    set(&gateway, &["keys_max=1"]);
    let create = ["key", "create", "--app", "acme"];
    let first = gateway.cli_json(&create);
    let refused = gateway.cli(&create);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("key_limit"), "{refused:?}");
    let id = first["key"]["id"].as_str().unwrap();
    gateway.cli_json(&["key", "rotate", id, "--overlap", "0s"]);
    set(&gateway, &["keys_max=2", "environment=test"]);
    let live = gateway.cli(&[&create[..], &["--environment", "live"]].concat());
    assert_eq!(live.code, 5, "{live:?}");
}

#[test]
fn sp_10_an_app_proves_itself_by_its_own_methods_only() {
    let (gateway, _echo) = gateway();
    let (id, secret) = gateway.key("acme", &[]);
    let partner = gateway.stranger();
    assert_eq!(partner.exchange(&id, &secret).status, 200);
    set(&gateway, &["auth_methods=private_key_jwt"]);
    let refused = partner.exchange(&id, &secret);
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"], json!("invalid_client"));
    set(
        &gateway,
        &["auth_methods=client_secret_basic,client_secret_post"],
    );
    assert_eq!(partner.exchange(&id, &secret).status, 200);
}
