//! A server key is exchanged for a short-lived access token, and the token is asked about on each call.

use serde_json::Value;

use crate::support::client::{Answer, Partner};
use crate::support::gateway::{Gateway, HOST, certificate_alone, config};
use crate::support::upstream::Echo;

const ROUTES: &str =
    "      - { match: { prefix: /read }, require: token, scopes: [orders:read], upstream: api }
      - { match: { prefix: /write }, require: token, scopes: [orders:write], upstream: api }
      - { match: { prefix: /both }, require: mtls_and_token, upstream: api }
      - { match: { prefix: /key }, require: key, upstream: api }";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn basic(id: &str, secret: &str) -> String {
    format!(
        "Basic {}",
        data_encoding::BASE64.encode(format!("{id}:{secret}").as_bytes())
    )
}

fn exchange(partner: &Partner, id: &str, secret: &str, more: &str) -> Answer {
    let authorization = basic(id, secret);
    let form = format!("grant_type=client_credentials{more}");
    partner.post(
        "/oauth2/token",
        &[FORM, ("Authorization", &authorization)],
        form.as_bytes(),
    )
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

fn call(partner: &Partner, path: &str, token: &str) -> Answer {
    partner.get_with(path, &[("Authorization", &format!("Bearer {token}"))])
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(
        &data_encoding::BASE64URL_NOPAD
            .decode(payload.as_bytes())
            .unwrap(),
    )
    .unwrap()
}

struct World {
    gateway: Gateway,
    id: String,
    secret: String,
    _echo: Echo,
}

fn world() -> World {
    world_of(str::to_owned)
}

/// The same with the configuration changed.
fn world_of(change: fn(&str) -> String) -> World {
    let echo = Echo::start();
    let gateway = Gateway::start(&change(&config(&echo.url(), ROUTES)));
    gateway.cli_json(&["app", "create", "acme"]);
    let (id, secret) = gateway.key("acme", &["orders:read", "orders:list"]);
    World {
        gateway,
        id,
        secret,
        _echo: echo,
    }
}

#[test]
fn a_key_becomes_a_token_and_the_token_a_call() {
    let world = world();
    let partner = world.gateway.stranger();
    let answer = exchange(&partner, &world.id, &world.secret, "");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let told = answer.json();
    assert_eq!(
        (told["token_type"].as_str(), told["expires_in"].as_u64()),
        (Some("Bearer"), Some(900))
    );
    assert_eq!(told["scope"], "orders:list orders:read");
    let token = token(&answer);
    let told = claims(&token);
    assert_eq!(told["iss"], format!("https://{HOST}"));
    assert_eq!(told["client_id"], world.id.as_str());
    assert!(told.get("cnf").is_none());
    let answer = call(&partner, "/read", &token);
    assert_eq!(answer.status, 200);
    let told = answer.json().to_string();
    assert!(told.contains("orders:list orders:read") && !told.contains(&token));
    let refused = call(&partner, "/write", &token);
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (403, "scope_missing")
    );
    assert!(
        refused
            .header("www-authenticate")
            .unwrap()
            .contains("insufficient_scope")
    );
}

#[test]
fn the_secret_may_come_in_the_form_and_only_in_one_place() {
    let world = world();
    let partner = world.gateway.stranger();
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        world.id, world.secret
    );
    token(&partner.post("/oauth2/token", &[FORM], form.as_bytes()));
    let both = partner.post(
        "/oauth2/token",
        &[FORM, ("Authorization", &basic(&world.id, &world.secret))],
        form.as_bytes(),
    );
    assert_eq!(
        (both.status, both.json()["error"].as_str()),
        (400, Some("invalid_request"))
    );
}

#[test]
fn scopes_are_a_subset_of_the_keys() {
    let world = world();
    let partner = world.gateway.stranger();
    let less = exchange(&partner, &world.id, &world.secret, "&scope=orders:list");
    assert_eq!(less.json()["scope"], "orders:list");
    assert_eq!(
        call(&partner, "/read", &token(&less)).reason(),
        "scope_missing"
    );
    let more = exchange(&partner, &world.id, &world.secret, "&scope=orders:write");
    assert_eq!(
        (more.status, more.json()["error"].as_str()),
        (400, Some("invalid_scope"))
    );
}

#[test]
fn wrong_unknown_and_revoked_secrets_look_alike() {
    let world = world();
    let partner = world.gateway.stranger();
    let (gone, gone_secret) = world.gateway.key("acme", &[]);
    world.gateway.cli(&["key", "revoke", &gone, "--yes"]).ok();
    let mut wrong = world.secret.clone();
    wrong.replace_range(
        40..41,
        if wrong.as_bytes()[40] == b'x' {
            "y"
        } else {
            "x"
        },
    );
    let absent = "key_00000000000000000000000007";
    let bodies: Vec<String> = [
        (&*world.id, &*wrong),
        (absent, &*world.secret),
        (&*gone, &*gone_secret),
        (&*world.id, "nonsense"),
    ]
    .into_iter()
    .map(|(id, secret)| {
        let answer = exchange(&partner, id, secret, "");
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (401, Some("invalid_client"))
        );
        let mut told = answer.json();
        told.as_object_mut().unwrap().remove("request_id");
        told.to_string()
    })
    .collect();
    assert!(
        bodies.windows(2).all(|pair| pair[0] == pair[1]),
        "{bodies:?}"
    );
}

#[test]
fn malformed_requests_get_the_error_of_the_standard() {
    let world = world();
    let partner = world.gateway.stranger();
    let auth = basic(&world.id, &world.secret);
    for (form, expected) in [
        ("", "invalid_request"),
        ("grant_type=password", "unsupported_grant_type"),
        (
            "grant_type=client_credentials&grant_type=client_credentials",
            "invalid_request",
        ),
        ("grant_type=%zz", "invalid_request"),
        ("scope=orders:read", "invalid_request"),
        (
            "grant_type=client_credentials&scope=a%0ab",
            "invalid_request",
        ),
    ] {
        let answer = partner.post(
            "/oauth2/token",
            &[FORM, ("Authorization", &auth)],
            form.as_bytes(),
        );
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (400, Some(expected)),
            "{form}"
        );
    }
    let huge = vec![b'a'; 100_000];
    assert_eq!(partner.post("/oauth2/token", &[FORM], &huge).status, 413);
    assert_eq!(partner.get("/oauth2/token").status, 405);
}

#[test]
fn a_token_minted_over_mtls_is_bound_to_the_certificate() {
    let world = world();
    let acme = world.gateway.enrol_again("acme", "prod");
    let token = token(&exchange(&acme.partner, &world.id, &world.secret, ""));
    assert!(claims(&token)["cnf"]["x5t#S256"].is_string());
    assert_eq!(call(&acme.partner, "/both", &token).status, 200);
    assert_eq!(call(&acme.partner, "/read", &token).status, 200);
    let alone = call(&world.gateway.stranger(), "/both", &token);
    assert_eq!(
        alone.reason(),
        "cert_missing",
        "bound, so it proves nothing"
    );
    let stolen = call(&world.gateway.stranger(), "/read", &token);
    assert_eq!(
        (stolen.status, stolen.reason().as_str()),
        (401, "token_binding")
    );
    let zenith = world.gateway.enrol("zenith");
    assert_eq!(
        call(&zenith.partner, "/read", &token).reason(),
        "token_binding"
    );
    let second = world.gateway.enrol_again("acme", "second");
    assert_eq!(
        call(&second.partner, "/both", &token).reason(),
        "token_binding"
    );
}

#[test]
fn a_certificate_is_enough_to_be_a_client_and_not_for_another_apps_key() {
    let world = world_of(certificate_alone);
    let acme = world.gateway.enrol_again("acme", "prod");
    let form = format!("grant_type=client_credentials&client_id={}", world.id);
    let minted = acme.partner.post("/oauth2/token", &[FORM], form.as_bytes());
    assert_eq!(call(&acme.partner, "/both", &token(&minted)).status, 200);
    let zenith = world.gateway.enrol("zenith");
    let refused = zenith
        .partner
        .post("/oauth2/token", &[FORM], form.as_bytes());
    assert_eq!(
        (refused.status, refused.json()["error"].as_str()),
        (401, Some("invalid_client"))
    );
    let bare = world
        .gateway
        .stranger()
        .post("/oauth2/token", &[FORM], form.as_bytes());
    assert_eq!(bare.status, 401);
}

#[test]
fn a_good_token_without_a_certificate_is_told_what_is_missing() {
    let world = world();
    let stranger = world.gateway.stranger();
    let unbound = token(&exchange(&stranger, &world.id, &world.secret, ""));
    let answer = call(&stranger, "/both", &unbound);
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (403, "cert_required")
    );
    let acme = world.gateway.enrol_again("acme", "prod");
    assert_eq!(call(&acme.partner, "/both", &unbound).status, 200);
    let wrong = call(&stranger, "/both", &format!("{unbound}x"));
    assert_eq!(
        (wrong.status, wrong.reason().as_str()),
        (401, "cert_missing")
    );
}

#[test]
fn a_certificate_does_not_find_out_which_keys_other_apps_have() {
    let world = world_of(certificate_alone);
    let zenith = world.gateway.enrol("zenith").partner;
    let ask = |id: &str| {
        let form = format!("grant_type=client_credentials&client_id={id}");
        let answer = zenith.post("/oauth2/token", &[FORM], form.as_bytes());
        let mut told = answer.json();
        let request = told.as_object_mut().unwrap().remove("request_id").unwrap();
        let request = request.as_str().unwrap().to_owned();
        let challenge = answer.header("www-authenticate").map(str::to_owned);
        ((answer.status, challenge, told), request)
    };
    let (unknown, request) = ask("key_00000000000000000000000007");
    assert_eq!(
        (unknown.0, &unknown.2["reason"]),
        (401, &"credential_invalid".into())
    );
    let mut records = vec![(request, "key_unknown")];
    for (change, why) in [(None, "apps_differ"), (Some("suspend"), "app_suspended")] {
        if let Some(change) = change {
            world.gateway.cli(&["app", change, "acme"]).ok();
        }
        let (answer, request) = ask(&world.id);
        assert_eq!(answer, unknown, "{why}");
        records.push((request, why));
    }
    // The operator is told them apart.
    for (request, why) in records {
        assert_eq!(world.gateway.record_of(&request)["reason"], why);
    }
}

#[test]
fn revoking_the_key_the_certificate_or_the_app_ends_the_token() {
    let world = world();
    let acme = world.gateway.enrol_again("acme", "prod");
    let (other, other_secret) = world.gateway.key("acme", &["orders:read"]);
    let by_key = token(&exchange(
        &world.gateway.stranger(),
        &other,
        &other_secret,
        "",
    ));
    let bound = token(&exchange(&acme.partner, &world.id, &world.secret, ""));
    assert_eq!(
        call(&world.gateway.stranger(), "/read", &by_key).status,
        200
    );
    world.gateway.cli(&["key", "revoke", &other, "--yes"]).ok();
    let refused = call(&world.gateway.stranger(), "/read", &by_key);
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (401, "credential_invalid")
    );
    assert_eq!(call(&acme.partner, "/read", &bound).status, 200);
    world.gateway.cli(&["app", "suspend", "acme"]).ok();
    assert_eq!(call(&acme.partner, "/read", &bound).status, 403);
    world.gateway.cli(&["app", "resume", "acme"]).ok();
    assert_eq!(call(&acme.partner, "/read", &bound).status, 200);
    world
        .gateway
        .cli(&["cert", "revoke", &acme.id, "--yes"])
        .ok();
    assert_eq!(call(&acme.partner, "/read", &bound).status, 403);
}

/// A connection that shows one token often hashes it no more (decision 23), and still takes no other one for it.
#[test]
fn on_one_connection_every_token_is_judged_by_itself() {
    let world = world();
    let partner = world.gateway.stranger();
    let acme = world.gateway.enrol_again("acme", "prod");
    let reads = token(&exchange(&partner, &world.id, &world.secret, ""));
    let lists = token(&exchange(
        &partner,
        &world.id,
        &world.secret,
        "&scope=orders:list",
    ));
    let bound = token(&exchange(&acme.partner, &world.id, &world.secret, ""));
    let (front, _) = reads.rsplit_once('.').unwrap();
    let (_, back) = lists.rsplit_once('.').unwrap();
    let mixed = format!("{front}.{back}");
    let mut connection = partner.connect();
    let mut shown = |token: &str| {
        let bearer = format!("Bearer {token}");
        connection.request("GET", "/read", &[("Authorization", &bearer)], b"")
    };
    for (other, status, reason) in [
        (&*lists, 403, "scope_missing"),
        (&*mixed, 401, "credential_invalid"),
        (&*bound, 401, "token_binding"),
        ("", 401, "credential_missing"),
    ] {
        for _ in 0..3 {
            assert_eq!(shown(&reads).status, 200);
        }
        for _ in 0..2 {
            let answer = shown(other);
            assert_eq!((answer.status, &*answer.reason()), (status, reason));
        }
    }
    assert_eq!(shown(&reads).status, 200);
}

#[test]
fn a_kept_token_ends_with_its_key_on_the_same_connection() {
    let world = world();
    let token = token(&exchange(
        &world.gateway.stranger(),
        &world.id,
        &world.secret,
        "",
    ));
    let bearer = format!("Bearer {token}");
    let mut connection = world.gateway.stranger().connect();
    for _ in 0..3 {
        let answer = connection.request("GET", "/read", &[("Authorization", &bearer)], b"");
        assert_eq!(answer.status, 200);
    }
    world
        .gateway
        .cli(&["key", "revoke", &world.id, "--yes"])
        .ok();
    let head = format!("GET /read HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {bearer}\r\n\r\n");
    let answer = connection
        .try_send(head.as_bytes())
        .ok()
        .and_then(|()| connection.try_answer());
    // The connection is closed with its key; a request that was faster is refused.
    if let Some(answer) = answer {
        assert_eq!(
            (answer.status, &*answer.reason()),
            (401, "credential_invalid")
        );
    }
}

#[test]
fn a_token_that_was_tampered_with_is_refused() {
    let world = world();
    let partner = world.gateway.stranger();
    let good = token(&exchange(&partner, &world.id, &world.secret, ""));
    let parts: Vec<&str> = good.split('.').collect();
    let encode = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    let none = format!(
        "{}.{}.",
        encode(r#"{"alg":"none","typ":"at+jwt"}"#),
        parts[1]
    );
    let hs = format!(
        "{}.{}.{}",
        encode(r#"{"alg":"HS256","kid":"x","typ":"at+jwt"}"#),
        parts[1],
        parts[2]
    );
    let mut longer = claims(&good);
    longer["exp"] = 4_000_000_000_u64.into();
    let extended = format!("{}.{}.{}", parts[0], encode(&longer.to_string()), parts[2]);
    for bad in [
        none,
        hs,
        extended,
        format!("{good}="),
        format!("{good}x"),
        "a.b.c".to_owned(),
        "..".to_owned(),
        "x".repeat(9000),
    ] {
        let answer = call(&partner, "/read", &bad);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (401, "credential_invalid"),
            "{bad}"
        );
    }
    assert_eq!(call(&partner, "/read", &good).status, 200);
}

#[test]
fn discovery_says_what_holds() {
    let world = world();
    let partner = world.gateway.stranger();
    let metadata = partner
        .get("/.well-known/oauth-authorization-server")
        .json();
    assert_eq!(metadata["issuer"], format!("https://{HOST}"));
    assert_eq!(
        metadata["token_endpoint"],
        format!("https://{HOST}/oauth2/token")
    );
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
    let jwks = partner.get("/.well-known/jwks.json").json();
    assert_eq!(jwks["keys"][0]["crv"], "P-256");
    assert!(jwks["keys"][0].get("d").is_none());
    let ca = partner.get("/.well-known/countersign/ca.pem").text();
    assert!(ca.contains("BEGIN CERTIFICATE") && !ca.contains("PRIVATE"));
}

#[test]
fn whoami_tells_each_caller_what_the_gate_sees() {
    let world = world();
    let nobody = world
        .gateway
        .stranger()
        .get("/.well-known/countersign/whoami")
        .json();
    assert_eq!(nobody["authenticated"], false);
    let acme = world.gateway.enrol_again("acme", "prod");
    let somebody = acme.partner.get("/.well-known/countersign/whoami").json();
    assert_eq!(
        (
            somebody["authenticated"].as_bool(),
            somebody["app"]["name"].as_str()
        ),
        (Some(true), Some("acme"))
    );
    assert_eq!(somebody["certificate"]["serial"], acme.serial.as_str());
    world
        .gateway
        .cli(&["cert", "revoke", &acme.id, "--yes"])
        .ok();
    let gone = acme.partner.get("/.well-known/countersign/whoami").json();
    assert_eq!(
        (gone["authenticated"].as_bool(), gone["reason"].as_str()),
        (Some(false), Some("cert_revoked"))
    );
}

#[test]
fn a_key_is_rotated_with_an_overlap() {
    let world = world();
    let partner = world.gateway.stranger();
    let rotated = world
        .gateway
        .cli_json(&["key", "rotate", &world.id, "--overlap", "1h"]);
    let fresh = rotated["secret"].as_str().unwrap();
    let with = |secret: &str| {
        partner
            .get_with("/key", &[("Authorization", &format!("Bearer {secret}"))])
            .status
    };
    assert_eq!((with(&world.secret), with(fresh)), (200, 200));
    let old = world.gateway.cli_json(&["key", "get", &world.id]);
    assert_eq!(old["state"], "retiring", "{old}");
    assert!(old["expires_at"].is_string());
    world
        .gateway
        .cli(&["key", "revoke", &world.id, "--yes"])
        .ok();
    assert_eq!((with(&world.secret), with(fresh)), (401, 200));
}

fn published(partner: &Partner) -> Vec<String> {
    let jwks = partner.get("/.well-known/jwks.json").json();
    let keys = jwks["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_token_key_is_rotated_and_no_call_fails() {
    let world = world();
    let gateway = world.gateway;
    let partner = gateway.stranger();
    let old = token(&exchange(&partner, &world.id, &world.secret, ""));
    assert_eq!(call(&partner, "/read", &old).status, 200);
    let before = published(&partner);
    assert_eq!(before.len(), 1);

    let rotated = gateway.cli_json(&["token-key", "rotate"]);
    assert_eq!(rotated["receipt"]["confirmed"], true, "{rotated}");
    assert_eq!(rotated["retiring"][0]["kid"], before[0].as_str());
    let after = published(&partner);
    assert_eq!(rotated["token_key"]["kid"], after[0].as_str());
    assert_eq!(after[1..], before);
    let new = token(&exchange(&partner, &world.id, &world.secret, ""));
    for token in [&old, &new] {
        assert_eq!(call(&partner, "/read", token).status, 200);
    }

    // A restart in between ends no token.
    let text = std::fs::read_to_string(gateway.dir().join("countersign.yaml")).unwrap();
    let gateway = Gateway::start_in(gateway.kill(), &text);
    let partner = gateway.stranger();
    assert_eq!(published(&partner), after);
    for token in [&old, &new] {
        assert_eq!(call(&partner, "/read", token).status, 200);
    }

    assert_eq!(
        gateway.cli(&["token-key", "rotate", "--end-tokens"]).code,
        2
    );
    let args = ["token-key", "rotate", "--end-tokens", "--yes"];
    let rotated = gateway.cli_json(&args);
    assert_eq!(rotated["retiring"].as_array().unwrap().len(), 0);
    for ended in [&old, &new] {
        let refused = call(&partner, "/read", ended);
        assert_eq!(
            (refused.status, refused.reason()),
            (401, "credential_invalid".to_owned())
        );
        let line = gateway.record_of(refused.header("x-request-id").unwrap());
        assert_eq!(line["reason"], "token_signature", "{line}");
    }
    let fresh = token(&exchange(&partner, &world.id, &world.secret, ""));
    assert_eq!(call(&partner, "/read", &fresh).status, 200);
    let listed = gateway.cli_json(&["token-key", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let audit = gateway.cli_json(&["audit", "list", "--action", "token_key.rotate"]);
    assert_eq!(audit.as_array().unwrap().len(), 2, "{audit}");
}
