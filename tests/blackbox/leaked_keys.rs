//! Leaked keys: found, named and revoked, by operators and by their holders.

use serde_json::{Value, json};

use crate::key_kinds::scene;
use crate::support::gateway::{Gateway, config_with};
use crate::support::upstream::Echo;

#[test]
fn pr_12_a_leaked_key_is_found_in_files_named_and_revoked() {
    let scene = scene();
    let (id, secret) = scene.key(&["--name", "prod"]);
    let (test, other) = scene.key(&["--environment", "test"]);
    let dir = scene.gateway.dir().join("checkout");
    std::fs::create_dir_all(dir.join("src")).unwrap();
    std::fs::write(dir.join("src/app.env"), format!("A=1\nKEY={secret}\n")).unwrap();
    std::fs::write(
        dir.join("notes"),
        format!("old \"{other}\", sk_live_nothing"),
    )
    .unwrap();
    let path = dir.display().to_string();
    let scan = ["key", "scan", &path, "--output", "json"];
    let found = scene.gateway.cli(&scan);
    assert_eq!(found.code, 8, "{}", found.stderr);
    assert!(!found.stdout.contains(&secret) && !found.stderr.contains(&secret));
    let listed: Value = serde_json::from_str(&found.stdout).unwrap();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 2);
    let of = |id: &str| listed.iter().find(|found| found["key"] == id).unwrap();
    assert_eq!(
        (&of(&id)["state"], &of(&id)["kind"]),
        (&json!("active"), &json!("secret"))
    );
    assert_eq!(of(&id)["place"], format!("{path}/src/app.env:2"));
    assert_eq!(of(&test)["environment"], "test");
    for key in [&id, &test] {
        let args = ["key", "revoke", key, "--yes", "--reason", "key-compromise"];
        scene.gateway.cli_json(&args);
    }
    let after = scene.gateway.cli(&scan);
    assert_eq!(after.code, 0, "{}", after.stderr);
    assert!(after.stdout.contains("revoked"));
    let typed = scene
        .gateway
        .cli(&["key", "scan", &dir.join("missing").display().to_string()]);
    assert_eq!(typed.code, 1);
}

#[test]
fn pr_12_a_holder_revokes_its_own_key() {
    const PATH: &str = "/.well-known/countersign/keys/revoke";
    let scene = scene();
    let (id, secret) = scene.key(&[]);
    let (pk_id, publishable) = scene.key(&["--kind", "publishable"]);
    let token = scene.partner().token(&id, &secret);
    let by = |secret: &str, body: &str| {
        let value = format!("Bearer {secret}");
        let fields = [
            ("Authorization", value.as_str()),
            ("Content-Type", "application/json"),
        ];
        scene.partner().post(PATH, &fields, body.as_bytes())
    };
    assert_eq!(by(&publishable, "").reason(), "kind_not_accepted");
    assert_eq!(by(&token, "").reason(), "kind_not_accepted");
    assert_eq!(by("sk_live_0", "").status, 401);
    assert_eq!(by(&secret, "{\"nonsense\": 1}").status, 422);
    assert_eq!(scene.partner().get_by("/v1", &secret).status, 200);
    let answer = by(&secret, "{\"reason\": \"key-compromise\"}");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        (&answer.json()["key"], &answer.json()["state"]),
        (&json!(id), &json!("revoked"))
    );
    assert_eq!(scene.partner().get_by("/v1", &secret).status, 401);
    assert_eq!(scene.partner().get_by("/token", &token).status, 401);
    let shown = scene.gateway.cli_json(&["key", "get", &id]);
    assert_eq!(shown["revocation_reason"], "key-compromise");
    let events = scene.gateway.cli_json(&["audit", "list", "--subject", &id]);
    let events = events
        .as_array()
        .cloned()
        .unwrap_or_else(|| events["items"].as_array().unwrap().clone());
    let actor = events[0]["actor"].as_str().unwrap();
    assert!(
        actor.starts_with("partner:app_") && actor.ends_with(&id),
        "{actor}"
    );
    assert_eq!(
        scene.gateway.cli_json(&["key", "get", &pk_id])["state"],
        "active"
    );
}

#[test]
fn pr_14_whoami_names_the_accepted_key_its_scopes_and_its_end() {
    let scene = scene();
    let (id, secret) = scene.key(&["--scope", "events:read", "--expires", "90d"]);
    let path = "/.well-known/countersign/whoami";
    let told = scene.partner().get_by(path, &secret).json();
    assert_eq!(told["key"]["id"], *id);
    assert_eq!(told["key"]["scopes"], json!(["events:read"]));
    assert_eq!(
        (&told["key"]["state"], &told["key"]["credential"]),
        (&json!("active"), &json!("secret_key"))
    );
    assert!(told["key"]["expires_at"].is_string());
    assert!(!told.to_string().contains(&secret));
    let token = scene.partner().token(&id, &secret);
    let told = scene.partner().get_by(path, &token).json();
    assert_eq!(
        (&told["key"]["id"], &told["key"]["credential"]),
        (&json!(id), &json!("app_token"))
    );
    let wrong = scene.partner().get_by(path, "sk_live_0");
    assert_eq!(
        (wrong.status, &wrong.json()["key"]["reason"]),
        (200, &json!("credential_invalid"))
    );
    assert_eq!(scene.partner().get(path).json()["key"], Value::Null);
}

#[test]
fn pr_18_the_access_log_shows_the_hint_and_the_scopes() {
    let scene = scene();
    let (_, secret) = scene.key(&["--scope", "events:read", "--scope", "users:read"]);
    let answer = scene.partner().get_by("/v1", &secret);
    let line = scene
        .gateway
        .record_of(answer.header("x-request-id").unwrap());
    assert_eq!(
        line["hint"],
        format!("sk_live_…{}", &secret[secret.len() - 4..])
    );
    assert_eq!(line["scopes"], "events:read users:read");
    let log = std::fs::read_to_string(scene.gateway.dir().join("access.log")).unwrap();
    assert!(!log.contains(&secret));
}

#[test]
fn with_a_catalogue_of_scopes_a_name_that_is_not_in_it_is_refused() {
    let echo = Echo::start();
    let routes =
        "      - { match: { prefix: / }, require: key, scopes: [orders:read], upstream: api }\n";
    let more = "scopes: [\"orders:read\", \"orders:write\"]\n";
    let gateway = Gateway::start(&config_with(&echo.url(), routes, more));
    gateway.cli_json(&["app", "create", "acme"]);
    gateway.key("acme", &["orders:read", "countersign:introspect"]);
    for args in [
        &["key", "create", "--app", "acme", "--scope", "order:read"][..],
        &[
            "key",
            "import",
            "--app",
            "acme",
            "--digest",
            &"ab".repeat(32),
            "--scope",
            "order:read",
        ],
    ] {
        let refused = gateway.cli(args);
        assert_eq!(refused.code, 6, "{}", refused.stderr);
        assert!(
            refused.stderr.contains("did you mean orders:read?"),
            "{}",
            refused.stderr
        );
    }
    let typo = routes.replace("orders:read", "orders:raed");
    gateway.configure(&config_with(&echo.url(), &typo, more));
    let refused = gateway.cli(&["reload"]);
    assert_eq!(refused.code, 6, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("did you mean orders:read?"),
        "{}",
        refused.stderr
    );
    gateway.configure(&config_with(&echo.url(), &typo, ""));
    gateway.cli(&["reload"]).ok();
    gateway.key("acme", &["anything"]);
}
