//! Pages of other origins: a browser's questions, and who may read which answer.

use crate::key_kinds::{Scene, scene};
use crate::support::client::Answer;

const SHOP: &str = "https://shop.example";

fn asked(scene: &Scene, path: &str, origin: &str, method: &str) -> Answer {
    let fields = [
        ("Origin", origin),
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", "content-type,x-api-key"),
    ];
    scene
        .partner()
        .connect()
        .request("OPTIONS", path, &fields, b"")
}

fn key_of_shop(scene: &Scene, scope: &str) -> (String, String) {
    let args = ["--kind", "publishable", "--origin", SHOP];
    scene.key(&[&args[..], &["--scope", scope]].concat())
}

#[test]
fn in_08_a_listed_page_may_ask_and_read_the_answer() {
    let scene = scene();
    let before = asked(&scene, "/events", SHOP, "POST");
    assert_eq!(before.status, 403, "no key lists the origin");
    let (id, secret) = key_of_shop(&scene, "events:write");
    let calls = scene.echo.requests();
    let answer = asked(&scene, "/events", SHOP, "POST");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    let names = answer.header("access-control-allow-headers");
    assert_eq!(names, Some("content-type,x-api-key"));
    assert!(answer.header("vary").unwrap().contains("origin"));
    assert!(answer.body.is_empty());
    for (path, origin, method) in [
        ("/events", "https://evil.test", "POST"),
        ("/events", "https://shop.example.evil.test", "POST"),
        ("/events", "null", "POST"),
        ("/v1", SHOP, "GET"),
        ("/scoped", SHOP, "DELETE"),
        ("/unknown", SHOP, "GET"),
        ("/oauth2/introspect", SHOP, "POST"),
    ] {
        let answer = asked(&scene, path, origin, method);
        assert!(answer.status >= 400, "{path} {origin} {answer:?}");
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, None, "{path} {origin}");
    }
    assert_eq!(scene.echo.requests(), calls, "the API is asked nothing");

    let fields = [("X-Api-Key", secret.as_str()), ("Origin", SHOP)];
    let posted = scene.partner().post("/events", &fields, b"{}");
    assert_eq!(posted.status, 200);
    assert_eq!(posted.header("access-control-allow-origin"), Some(SHOP));
    let other = [
        ("X-Api-Key", secret.as_str()),
        ("Origin", "https://evil.test"),
    ];
    let refused = scene.partner().post("/events", &other, b"{}");
    assert_eq!(refused.reason(), "origin_refused");
    assert_eq!(refused.header("access-control-allow-origin"), None);

    scene.gateway.cli_json(&["key", "revoke", &id, "--yes"]);
    assert_eq!(asked(&scene, "/events", SHOP, "POST").status, 403);
}

#[test]
fn a_listed_page_reads_why_it_is_refused() {
    let scene = scene();
    let (_, secret) = key_of_shop(&scene, "other:scope");
    let typo = "pk_live_0";
    for (credential, reason) in [
        (secret.as_str(), "scope_missing"),
        (typo, "credential_invalid"),
    ] {
        let fields = [("X-Api-Key", credential), ("Origin", SHOP)];
        let refused = scene.partner().post("/events", &fields, b"{}");
        assert_eq!(refused.reason(), reason);
        let allowed = refused.header("access-control-allow-origin");
        assert_eq!(allowed, Some(SHOP), "{reason}");
    }
    let fields = [("X-Api-Key", typo), ("Origin", "https://evil.test")];
    let refused = scene.partner().post("/events", &fields, b"{}");
    assert_eq!(refused.header("access-control-allow-origin"), None);
}

#[test]
fn a_key_without_origins_is_good_anywhere_and_read_by_no_page() {
    let scene = scene();
    let (_, secret) = scene.key(&["--kind", "publishable", "--scope", "events:write"]);
    for origin in [None, Some(SHOP)] {
        let mut fields = vec![("X-Api-Key", secret.as_str())];
        fields.extend(origin.map(|origin| ("Origin", origin)));
        let answer = scene.partner().get_with("/events", &fields);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[test]
fn in_10_a_revoked_publishable_key_ends_at_once() {
    let scene = scene();
    let (id, secret) = key_of_shop(&scene, "events:write");
    let fields = [("X-Api-Key", secret.as_str()), ("Origin", SHOP)];
    let mut connection = scene.partner().connect();
    assert_eq!(
        connection.request("GET", "/events", &fields, b"").status,
        200
    );
    scene.gateway.cli_json(&["key", "revoke", &id, "--yes"]);
    let refused = scene.partner().get_with("/events", &fields);
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (401, "credential_invalid")
    );
}
