//! Kinds and environments of keys: each opens what its kind is for, and says so by its first letters.

use serde_json::Value;

use crate::support::client::{Answer, Partner};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::process::run;
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /v1 }, require: key, upstream: api }
      - { match: { prefix: /scoped, methods: [GET] }, require: key, scopes: [events:read], upstream: api }
      - { match: { prefix: /scoped, methods: [POST] }, require: key, scopes: [events:write], upstream: api }
      - { match: { prefix: /events }, require: key, accept: [secret_key, publishable_key], scopes: [events:write], upstream: api }
      - { match: { prefix: /both }, require: key, environments: [live, test], upstream: api }
      - { match: { prefix: /sandbox }, require: key, environments: [test], upstream: api }
      - { match: { prefix: /token }, require: token, upstream: api }
";

const SHOP: &str = "https://shop.example";

pub struct Scene {
    pub echo: Echo,
    pub gateway: Gateway,
}

pub fn scene() -> Scene {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    Scene { echo, gateway }
}

impl Scene {
    /// A key made with these arguments: its id and its secret.
    pub fn key(&self, args: &[&str]) -> (String, String) {
        let made = self
            .gateway
            .cli_json(&[&["key", "create", "--app", "acme"], args].concat());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["key"]["id"]), text(&made["secret"]))
    }

    fn publishable(&self) -> String {
        let args = ["--kind", "publishable", "--scope", "events:write"];
        self.key(&[&args[..], &["--origin", SHOP]].concat()).1
    }

    pub fn partner(&self) -> Partner {
        self.gateway.stranger()
    }
}

fn seen(answer: &Answer) -> (u16, String) {
    (answer.status, answer.reason())
}

fn refused(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

fn bearer(secret: &str) -> (&'static str, String) {
    ("Authorization", format!("Bearer {secret}"))
}

#[test]
fn pr_01_a_keys_class_and_environment_are_its_first_letters() {
    let scene = scene();
    for (args, prefix) in [
        (&[][..], "sk_live_"),
        (&["--environment", "test"], "sk_test_"),
        (&["--kind", "publishable"], "pk_live_"),
        (
            &["--kind", "publishable", "--environment", "test"],
            "pk_test_",
        ),
    ] {
        let (_, secret) = scene.key(args);
        assert!(secret.starts_with(prefix), "{prefix}");
        assert_eq!(secret.len(), prefix.len() + 75);
        // A typing error is noticed without a look-up.
        let last = if secret.ends_with('0') { "1" } else { "0" };
        let typo = format!("{}{last}", &secret[..secret.len() - 1]);
        let answer = scene.partner().get_by("/v1", &typo);
        assert_eq!(seen(&answer), refused(401, "credential_invalid"));
        let record = scene
            .gateway
            .record_of(answer.header("x-request-id").unwrap());
        assert_eq!(record["reason"], "key_malformed", "{prefix}");
    }
}

#[test]
fn pr_02_a_publishable_key_opens_the_routes_that_name_it_and_gets_no_token() {
    let scene = scene();
    let (id, secret) = scene.key(&["--kind", "publishable", "--scope", "events:write"]);
    let by = |path: &str| seen(&scene.partner().get_by(path, &secret));
    assert_eq!(by("/events"), refused(200, ""));
    assert_eq!(by("/v1"), refused(403, "kind_not_accepted"));
    let told = scene.partner().get_by("/v1", &secret).json();
    assert_eq!(told["accept"], serde_json::json!(["secret_key"]));
    let by_field = scene
        .partner()
        .get_with("/events", &[("X-Api-Key", &secret)]);
    assert_eq!(by_field.status, 200);
    assert!(
        !by_field.text().contains(&secret),
        "the API sees no key of ours"
    );
    let exchanged = scene.partner().exchange(&id, &secret);
    assert_eq!(exchanged.status, 401);
    assert_eq!(exchanged.json()["error"], "invalid_client");
}

#[test]
fn pr_03_a_key_is_shown_once() {
    let scene = scene();
    let (id, secret) = scene.key(&["--scope", "events:read"]);
    let shown = scene.gateway.cli_json(&["key", "get", &id]);
    let hint = format!("sk_live_…{}", &secret[secret.len() - 4..]);
    assert_eq!(shown["hint"], *hint);
    let listed = scene.gateway.cli(&["key", "list", "--output", "json"]).ok();
    for text in [shown.to_string(), listed] {
        assert!(!text.contains(&secret[30..]), "{text}");
        assert!(text.contains(&hint), "{text}");
    }
}

#[test]
fn pr_04_a_route_and_method_need_their_scope() {
    let scene = scene();
    let (id, secret) = scene.key(&["--scope", "events:read"]);
    assert_eq!(scene.partner().get_by("/scoped", &secret).status, 200);
    let (name, value) = bearer(&secret);
    let posted = scene.partner().post("/scoped", &[(name, &value)], b"");
    assert_eq!(seen(&posted), refused(403, "scope_missing"));
    let challenge = posted.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("error=\"insufficient_scope\", scope=\"events:write\""),
        "{challenge}"
    );
    let form = format!(
        "grant_type=client_credentials&client_id={id}&client_secret={secret}&scope=events:write"
    );
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let more = scene
        .partner()
        .post("/oauth2/token", &[kind], form.as_bytes());
    assert_eq!(
        (more.status, more.json()["error"].as_str()),
        (400, Some("invalid_scope"))
    );
}

#[test]
fn pr_05_a_key_is_a_bearer_on_every_call_and_the_api_never_sees_it() {
    let scene = scene();
    let (_, live) = scene.key(&[]);
    let (_, test) = scene.key(&["--environment", "test"]);
    for (path, secret) in [
        ("/v1", &live),
        ("/both", &live),
        ("/both", &test),
        ("/sandbox", &test),
    ] {
        let answer = scene.partner().get_by(path, secret);
        assert_eq!(answer.status, 200, "{path} {answer:?}");
        assert!(!answer.text().contains(secret.as_str()), "{path}");
    }
}

#[test]
fn pr_06_the_store_holds_no_part_of_a_key() {
    let scene = scene();
    let (_, secret) = scene.key(&[]);
    let digest = scene.gateway.dir().join("store.db");
    let mut bytes = std::fs::read(&digest).unwrap();
    bytes.extend(std::fs::read(scene.gateway.dir().join("store.db-wal")).unwrap_or_default());
    let secret = secret.as_bytes();
    for part in secret[34..77].windows(12) {
        let found = memchr_find(&bytes, part);
        assert!(!found, "a part of the key is in the store");
    }
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret);
    assert!(
        memchr_find(&bytes, sum.as_ref()),
        "SHA-256 of the whole key"
    );
}

fn memchr_find(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn pr_17_what_is_wrong_with_a_key_is_401_and_what_it_may_not_do_is_403() {
    let scene = scene();
    let (id, revoked) = scene.key(&[]);
    scene.gateway.cli_json(&["key", "revoke", &id, "--yes"]);
    let (_, good) = scene.key(&[]);
    let (_, expired) = scene.key(&["--expires", "1ms"]);
    for secret in [&revoked, &expired] {
        let answer = scene.partner().get_by("/v1", secret);
        assert_eq!(seen(&answer), refused(401, "credential_invalid"));
    }
    assert_eq!(scene.partner().get_by("/v1", &good).status, 200);
    assert_eq!(
        seen(&scene.partner().get_by("/scoped", &good)),
        refused(403, "scope_missing")
    );
}

#[test]
fn pr_19_a_test_key_reaches_no_live_route() {
    let scene = scene();
    let (id, test) = scene.key(&["--environment", "test"]);
    let (_, live) = scene.key(&[]);
    let before = scene.echo.requests();
    let answer = scene.partner().get_by("/v1", &test);
    assert_eq!(seen(&answer), refused(403, "environment_mismatch"));
    assert_eq!(answer.json()["environments"], serde_json::json!(["live"]));
    let other = scene.partner().get_by("/sandbox", &live);
    assert_eq!(seen(&other), refused(403, "environment_mismatch"));
    let token = scene.partner().token(&id, &test);
    let by_token = scene.partner().get_by("/token", &token);
    assert_eq!(seen(&by_token), refused(403, "environment_mismatch"));
    assert_eq!(scene.echo.requests(), before);
}

#[test]
fn pb_11_a_secret_key_from_a_browser_is_refused_and_counted() {
    let scene = scene();
    let (_, secret) = scene.key(&["--scope", "events:write"]);
    let (name, value) = bearer(&secret);
    let own = format!("https://{HOST}");
    let metric = "countersign_auth_decisions_total";
    for (fields, expected) in [
        (&[("Origin", "https://evil.test")][..], 403),
        (&[("Origin", "null")], 403),
        (&[("Sec-Fetch-Site", "cross-site")], 403),
        (&[("Origin", "https://evil.test"), ("Origin", &own)], 403),
        (&[("Origin", &own)], 200),
        (&[("Sec-Fetch-Site", "same-origin")], 200),
        (&[], 200),
    ] {
        for path in ["/v1", "/events"] {
            let counted = scene.gateway.count_of(metric, "secret_in_browser");
            let fields = [&[(name, value.as_str())], fields].concat();
            let answer = scene.partner().get_with(path, &fields);
            assert_eq!(answer.status, expected, "{fields:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
            if expected == 403 {
                assert_eq!(answer.reason(), "secret_in_browser");
                let now = scene.gateway.count_of(metric, "secret_in_browser");
                assert_eq!(now, counted + 1);
            }
        }
    }
    // The answer says nothing about the key.
    let guess = format!("sk_live_{}", "0".repeat(75));
    let fields = [
        ("X-Api-Key", guess.as_str()),
        ("Origin", "https://evil.test"),
    ];
    let answer = scene.partner().get_with("/v1", &fields);
    assert_eq!(seen(&answer), refused(403, "secret_in_browser"));
}

#[test]
fn in_09_a_publishable_key_is_good_from_its_origins_only() {
    let scene = scene();
    let secret = scene.publishable();
    let args = ["--kind", "publishable", "--scope", "events:write"];
    let wild = scene
        .key(&[&args[..], &["--origin", "https://*.shop.example"]].concat())
        .1;
    for (secret, origin, good) in [
        (&secret, Some(SHOP), true),
        (&secret, Some("https://shop.example.evil.test"), false),
        (&secret, Some("https://evilshop.example"), false),
        (&secret, Some("http://shop.example"), false),
        (&secret, Some("https://shop.example:8443"), false),
        (&secret, Some("null"), false),
        (&secret, None, false),
        (&wild, Some("https://a.shop.example"), true),
        (&wild, Some("https://a.b.shop.example"), false),
        (&wild, Some(SHOP), false),
    ] {
        let mut fields = vec![("X-Api-Key", secret.as_str()), ("Referer", SHOP)];
        fields.extend(origin.map(|origin| ("Origin", origin)));
        let answer = scene.partner().get_with("/events", &fields);
        let expected = if good {
            refused(200, "")
        } else {
            refused(403, "origin_refused")
        };
        assert_eq!(seen(&answer), expected, "{origin:?}");
    }
}

#[test]
fn pk_10_a_key_is_taken_as_basic_with_its_id() {
    let scene = scene();
    let (id, secret) = scene.key(&[]);
    let (other, _) = scene.key(&[]);
    let basic = |user: &str, password: &str| {
        let pair = data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes());
        let value = format!("Basic {pair}");
        scene
            .partner()
            .get_with("/v1", &[("Authorization", &value)])
    };
    let answer = basic(&id, &secret);
    assert_eq!(answer.status, 200);
    assert!(
        !answer.text().contains("Basic"),
        "the API sees no Authorization of ours"
    );
    assert_eq!(
        seen(&basic(&other, &secret)),
        refused(401, "credential_invalid")
    );
    assert_eq!(
        seen(&basic("user", "password")),
        refused(401, "credential_missing")
    );
    let curl = format!("https://{HOST}:{}/v1", scene.gateway.partners().port());
    let resolve = format!("{HOST}:{}:127.0.0.1", scene.gateway.partners().port());
    let ca = scene.gateway.ca().display().to_string();
    let pair = format!("{id}:{secret}");
    let args = [
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--cacert",
        &ca,
        "--resolve",
        &resolve,
        "-u",
        &pair,
        &curl,
    ];
    assert_eq!(run(scene.gateway.dir(), "curl", &args).ok(), "200");
}

#[test]
fn pk_17_a_valid_credential_of_another_class_is_refused() {
    let scene = scene();
    let (id, secret) = scene.key(&["--scope", "events:write"]);
    let token = scene.partner().token(&id, &secret);
    for (path, credential) in [("/token", &secret), ("/v1", &token), ("/events", &token)] {
        let answer = scene.partner().get_by(path, credential);
        assert_eq!(seen(&answer), refused(403, "kind_not_accepted"), "{path}");
    }
}

#[test]
fn what_no_key_may_have_is_refused_when_it_is_made() {
    let scene = scene();
    for (args, said) in [
        (&["--origin", SHOP][..], "publishable"),
        (
            &["--kind", "publishable", "--scope", "countersign:vouch"],
            "anybody can read",
        ),
        (
            &[
                "--kind",
                "publishable",
                "--origin",
                "https://shop.example/path",
            ],
            "origin",
        ),
        (&["--limit", "events=0/s"], "rate"),
        (
            &["--limit", "events=1/s", "--limit", "events=2/s"],
            "same name",
        ),
    ] {
        let args = [&["key", "create", "--app", "acme"], args].concat();
        let finished = scene.gateway.cli(&args);
        assert_ne!(finished.code, 0, "{args:?}");
        assert!(
            finished.stderr.contains(said),
            "{args:?} {}",
            finished.stderr
        );
    }
}

#[test]
fn a_keys_own_limit_takes_the_place_of_its_routes() {
    let echo = Echo::start();
    let routes = "      - { match: { prefix: /limited }, require: key, limit: { name: events, per: key, rate: 2/h }, upstream: api }
      - { match: { prefix: /free }, require: key, upstream: api }
";
    let gateway = Gateway::start(&config(&echo.url(), routes));
    gateway.cli_json(&["app", "create", "acme"]);
    let scene = Scene { echo, gateway };
    let (_, plain) = scene.key(&[]);
    let (_, more) = scene.key(&["--limit", "events=4/h"]);
    let (_, total) = scene.key(&["--limit", "total=3/h"]);
    let served = |secret: &str, path: &str| {
        let statuses = (0..6).map(|_| scene.partner().get_by(path, secret).status);
        statuses.filter(|status| *status == 200).count()
    };
    assert_eq!(served(&plain, "/limited"), 2);
    assert_eq!(served(&more, "/limited"), 4);
    assert_eq!(served(&more, "/free"), 6, "it is a limit of other routes");
    assert_eq!(served(&total, "/free"), 3);
    let refused = scene.partner().get_by("/free", &total);
    assert_eq!(
        (refused.status, refused.json()["limit"].as_str()),
        (429, Some("total"))
    );
    assert_eq!(served(&plain, "/free"), 6);
}
