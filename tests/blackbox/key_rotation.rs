//! Rotation and revocation of keys: nobody is cut off by accident, and what is revoked ends at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::key_kinds::{Scene, scene};
use crate::support::eventually::eventually;

fn shown(scene: &Scene, id: &str) -> Value {
    scene.gateway.cli_json(&["key", "get", id])
}

/// A rotation of this key: the new id and secret.
fn rotated(scene: &Scene, id: &str, more: &[&str]) -> (String, String) {
    let args = [&["key", "rotate", id], more].concat();
    let made = scene.gateway.cli_json(&args);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&made["key"]["id"]), text(&made["secret"]))
}

#[test]
fn pb_08_a_rotation_costs_no_request() {
    let scene = scene();
    let (id, secret) = scene.key(&[]);
    let (stop, partner) = (AtomicBool::new(false), scene.partner());
    thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let mut connection = partner.connect();
            let value = format!("Bearer {secret}");
            let mut calls = 0;
            while !stop.load(Ordering::SeqCst) {
                let answer = connection.request("GET", "/v1", &[("Authorization", &value)], b"");
                assert_eq!(answer.status, 200, "{answer:?}");
                assert_eq!(partner.exchange(&id, &secret).status, 200);
                calls += 1;
            }
            calls
        });
        let (new_id, new_secret) = rotated(&scene, &id, &["--overlap", "1h"]);
        for _ in 0..20 {
            assert_eq!(partner.get_by("/v1", &new_secret).status, 200);
            assert_eq!(partner.exchange(&new_id, &new_secret).status, 200);
        }
        stop.store(true, Ordering::SeqCst);
        assert!(calling.join().unwrap() > 0);
        scene.gateway.cli_json(&["key", "revoke", &id, "--yes"]);
        assert_eq!(partner.get_by("/v1", &secret).status, 401);
        assert_eq!(partner.get_by("/v1", &new_secret).status, 200);
    });
}

#[test]
fn pr_13_a_successor_has_the_bounds_of_its_predecessor_and_both_show_each_other() {
    let scene = scene();
    let args = [
        "--kind",
        "publishable",
        "--scope",
        "events:write",
        "--limit",
        "events=5/m",
    ];
    let more = [
        "--origin",
        "https://shop.example",
        "--network",
        "127.0.0.0/8",
        "--expires",
        "90d",
    ];
    let (id, _) = scene.key(&[&args[..], &more].concat());
    let (new_id, new_secret) = rotated(&scene, &id, &["--overlap", "1h"]);
    assert!(new_secret.starts_with("pk_live_"));
    let (old, new) = (shown(&scene, &id), shown(&scene, &new_id));
    for field in [
        "kind",
        "environment",
        "scopes",
        "origins",
        "networks",
        "limits",
        "name",
    ] {
        assert_eq!(old[field], new[field], "{field}");
    }
    assert_eq!(
        (&old["state"], &old["successor"]),
        (&"retiring".into(), &new_id.into())
    );
    assert_eq!(old["retires_at"], old["expires_at"]);
    assert!(new["expires_at"].as_str() > old["retires_at"].as_str());
    assert_eq!(
        (&new["successor"], &new["retires_at"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn pb_09_a_revoked_key_ends_within_a_second_with_its_tokens_unless_they_are_kept() {
    let scene = scene();
    let partner = scene.partner();
    for keep in [false, true] {
        let (id, secret) = scene.key(&[]);
        let token = partner.token(&id, &secret);
        assert_eq!(partner.get_by("/token", &token).status, 200);
        let mut args = vec!["key", "revoke", &id, "--yes", "--reason", "superseded"];
        args.extend(keep.then_some("--keep-tokens"));
        scene.gateway.cli_json(&args);
        assert_eq!(partner.exchange(&id, &secret).status, 401);
        assert_eq!(partner.get_by("/v1", &secret).status, 401);
        let expected = if keep { 200 } else { 401 };
        assert_eq!(partner.get_by("/token", &token).status, expected, "{keep}");
    }
}

#[test]
fn a_key_that_is_still_used_is_not_revoked_by_accident() {
    let scene = scene();
    let partner = scene.partner();
    let (id, secret) = scene.key(&[]);
    assert_eq!(partner.get_by("/v1", &secret).status, 200);
    let (_, new_secret) = rotated(&scene, &id, &[]);
    let refused = scene.gateway.cli(&["key", "revoke", &id, "--yes"]);
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("never was"), "{}", refused.stderr);
    assert_eq!(partner.get_by("/v1", &secret).status, 200);
    assert_eq!(partner.get_by("/v1", &new_secret).status, 200);
    scene.gateway.cli_json(&["key", "revoke", &id, "--yes"]);
    assert_eq!(partner.get_by("/v1", &secret).status, 401);

    let (id, secret) = scene.key(&[]);
    assert_eq!(partner.get_by("/v1", &secret).status, 200);
    rotated(&scene, &id, &[]);
    let args = [
        "key",
        "revoke",
        &id,
        "--yes",
        "--force",
        "--reason",
        "key-compromise",
    ];
    scene.gateway.cli_json(&args);
    assert_eq!(partner.get_by("/v1", &secret).status, 401);

    let (id, secret) = scene.key(&[]);
    let (_, new_secret) = rotated(&scene, &id, &["--revoke-old"]);
    assert_eq!(partner.get_by("/v1", &secret).status, 401);
    assert_eq!(partner.get_by("/v1", &new_secret).status, 200);
    assert_eq!(shown(&scene, &id)["state"], "revoked");
}

#[test]
fn the_last_use_of_a_key_is_shown_with_its_address_and_route() {
    let scene = scene();
    let (id, secret) = scene.key(&[]);
    assert_eq!(shown(&scene, &id)["last_used_at"], Value::Null);
    assert_eq!(scene.partner().get_by("/v1", &secret).status, 200);
    let first = shown(&scene, &id);
    assert_eq!(first["last_used_from"], "127.0.0.1");
    let route = first["last_used_route"].as_str().unwrap();
    assert!(route.ends_with("/v1/*"), "{route}");
    let listed = scene.gateway.cli_json(&["key", "list"]);
    let listed = listed["items"]
        .as_array()
        .unwrap_or_else(|| listed.as_array().unwrap());
    assert_eq!(listed[0]["last_used_at"], first["last_used_at"]);
    // A refused request is no use.
    assert_eq!(scene.partner().get_by("/scoped", &secret).status, 403);
    assert_eq!(shown(&scene, &id)["last_used_at"], first["last_used_at"]);
    scene.partner().token(&id, &secret);
    let token = shown(&scene, &id);
    assert_eq!(token["last_used_route"], "countersign.token");
    assert!(token["last_used_at"].as_str() > first["last_used_at"].as_str());

    let echo = scene.echo;
    let mut gateway = scene.gateway;
    gateway.signal("TERM");
    eventually("the gateway ends", || gateway.wait(Duration::from_secs(1)));
    let dir = gateway.kill();
    let routes = "      - { match: { prefix: /v1 }, require: key, upstream: api }\n";
    let text = crate::support::gateway::config(&echo.url(), routes);
    let gateway = crate::support::gateway::Gateway::start_in(dir, &text);
    let kept = gateway.cli_json(&["key", "get", &id]);
    assert_eq!(kept["last_used_at"], token["last_used_at"], "it is stored");
}
