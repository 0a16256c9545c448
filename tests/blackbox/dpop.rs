//! DPoP (RFC 9449): tokens that count beside a proof of the key that they are bound to, and no other way.

use std::thread;

use serde_json::{Value, json};

use crate::support::client::{Answer, Partner};
use crate::support::dpop::{Prover, ath, call};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;

const ROUTES: &str =
    "      - { match: { prefix: /read }, require: token, scopes: [orders:read], upstream: api }
      - { match: { prefix: /open }, require: none, upstream: api }
      - { match: { prefix: /kept }, require: token, keep_credential: true, upstream: api }";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const EXCHANGE: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";

type Key = (String, String);

struct World {
    gateway: Gateway,
    /// The server of the App, which may vouch and introspect.
    key: Key,
    echo: Echo,
}

/// A gateway that wants nonces, or none.
fn world(nonces: bool) -> World {
    let echo = Echo::start();
    let tokens = format!("tokens: {{ dpop_nonces: {nonces},");
    let text = config(&echo.url(), ROUTES).replace("tokens: {", &tokens);
    let gateway = Gateway::start(&text);
    gateway.cli_json(&["app", "create", "acme"]);
    let own = ["countersign:vouch", "countersign:introspect", "orders:read"];
    let key = gateway.key("acme", &own);
    World { gateway, key, echo }
}

fn url(path: &str) -> String {
    format!("https://{HOST}{path}")
}

fn post(partner: &Partner, path: &str, key: &Key, form: &str, proofs: &[&str]) -> Answer {
    let client = data_encoding::BASE64.encode(format!("{}:{}", key.0, key.1).as_bytes());
    let authorization = format!("Basic {client}");
    let mut fields = vec![FORM, ("Authorization", &*authorization)];
    fields.extend(proofs.iter().map(|proof| ("DPoP", *proof)));
    partner.post(path, &fields, form.as_bytes())
}

impl World {
    fn ask(&self, form: &str, proofs: &[&str]) -> Answer {
        let partner = self.gateway.stranger();
        post(&partner, "/oauth2/token", &self.key, form, proofs)
    }

    fn token(&self, prover: &Prover) -> String {
        let proof = prover.prove("POST", &url("/oauth2/token"), None);
        let answer = self.ask("grant_type=client_credentials", &[&proof]);
        member(&answer, "access_token")
    }

    fn read(&self, token: &str, proof: &str) -> (u16, String) {
        fate(&call(&self.gateway.stranger(), "/read", token, proof))
    }

    fn introspect(&self, token: &str) -> Value {
        let partner = self.gateway.stranger();
        let form = format!("token={token}");
        post(&partner, "/oauth2/introspect", &self.key, &form, &[]).json()
    }
}

#[track_caller]
fn member(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()[name].as_str().unwrap().to_owned()
}

fn fate(answer: &Answer) -> (u16, String) {
    let reason = if answer.status == 200 {
        String::new()
    } else {
        answer.reason()
    };
    (answer.status, reason)
}

fn refused(reason: &str) -> (u16, String) {
    (401, reason.to_owned())
}

fn error(answer: &Answer) -> (u16, String, String) {
    let told = answer.json();
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    (answer.status, text("error"), text("reason"))
}

#[test]
fn a_token_is_bound_to_the_key_of_its_proof_and_counts_beside_it_only() {
    let world = world(false);
    let prover = Prover::new();
    let proof = prover.prove("POST", &url("/oauth2/token"), None);
    let answer = world.ask("grant_type=client_credentials", &[&proof]);
    let told = answer.json();
    assert_eq!(
        (&told["token_type"], &told["expires_in"]),
        (&json!("DPoP"), &json!(3600))
    );
    let token = member(&answer, "access_token");
    let here = url("/read/a");
    let target = "/read/a?x=1";
    let partner = world.gateway.stranger();
    let good = prover.prove("GET", &here, Some(&token));
    let passed = call(&partner, target, &token, &good);
    assert_eq!(passed.status, 200, "{passed:?}");
    let seen = passed.json().to_string().to_lowercase();
    assert!(!seen.contains("dpop") && !seen.contains(&good), "{seen}");

    let bearer = partner.get_by("/read/a", &token);
    assert_eq!(fate(&bearer), refused("dpop_proof_missing"));
    let challenge = bearer.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("DPoP ") && challenge.contains("algs=\"ES256 "));
    let alone = partner.get_with("/read/a", &[("Authorization", &format!("DPoP {token}"))]);
    assert_eq!(fate(&alone), refused("dpop_proof_missing"));
    let stranger = Prover::new().prove("GET", &here, Some(&token));
    let by_thief = call(&partner, target, &token, &stranger);
    assert_eq!(fate(&by_thief), refused("token_binding"));
    let h2 = format!("DPoP {token}");
    let fresh = prover.prove("GET", &here, Some(&token));
    let over_h2 = partner.get_h2(target, &[("authorization", &h2), ("dpop", &fresh)]);
    assert_eq!(over_h2.status, 200);

    let about = world.introspect(&token);
    assert_eq!(about["token_type"], "DPoP");
    assert!(about["cnf"]["jkt"].is_string() && about["cnf"].get("x5t#S256").is_none());
    let unbound = partner.token(&world.key.0, &world.key.1);
    let proof = prover.prove("GET", &url("/read"), Some(&unbound));
    assert_eq!(world.read(&unbound, &proof), refused("token_binding"));
    assert_eq!(world.echo.requests(), 2, "no refused call reached the API");
    assert_eq!(
        world
            .gateway
            .count_of("countersign_tokens_issued_total", "binding=\"key\""),
        1
    );
}

#[test]
fn a_proof_is_for_its_own_request_and_time_and_counts_once() {
    let world = world(false);
    let prover = Prover::new();
    let token = world.token(&prover);
    let here = url("/read");
    let good = || {
        let mut claims = prover.claims("GET", &here);
        claims["ath"] = ath(&token).into();
        claims
    };
    let with = |member: &str, value: Value| {
        let mut claims = good();
        claims[member] = value;
        world.read(&token, &prover.seal(&prover.header(), &claims))
    };
    let now = good()["iat"].as_u64().unwrap();
    for (member, value, reason) in [
        ("htm", json!("POST"), "dpop_proof_mismatch"),
        ("htu", json!(url("/write")), "dpop_proof_mismatch"),
        (
            "htu",
            json!("https://evil.test/read"),
            "dpop_proof_mismatch",
        ),
        (
            "htu",
            json!(format!("http://{HOST}/read")),
            "dpop_proof_mismatch",
        ),
        ("ath", json!(ath("another")), "dpop_proof_mismatch"),
        ("ath", Value::Null, "dpop_proof_invalid"),
        ("iat", json!(now - 90), "dpop_proof_stale"),
        ("iat", json!(now + 90), "dpop_proof_stale"),
        ("jti", Value::Null, "dpop_proof_invalid"),
        ("nonce", json!("made-up"), "dpop_nonce_wanted"),
    ] {
        let found = with(member, value.clone());
        assert_eq!(found, refused(reason), "{member} {value}");
    }
    let upper = format!("HTTPS://{}:443/%72ead", HOST.to_uppercase());
    assert_eq!(with("htu", json!(upper)).0, 200);
    assert_eq!(with("htu", json!(format!("{here}?x#y"))).0, 200);

    let once = prover.seal(&prover.header(), &good());
    assert_eq!(world.read(&token, &once).0, 200);
    assert_eq!(world.read(&token, &once), refused("dpop_proof_replayed"));
    let record = call(&world.gateway.stranger(), "/read", &token, &once);
    let id = record.header("x-request-id").unwrap().to_owned();
    let line = world.gateway.record_of(&id);
    assert_eq!(line["reason"], "dpop_proof_replayed");
    assert!(!line.to_string().contains(&once));
}

#[test]
fn no_header_of_a_proof_changes_the_rules() {
    let world = world(false);
    let prover = Prover::new();
    let token = world.token(&prover);
    let claims = || {
        let mut claims = prover.claims("GET", &url("/read"));
        claims["ath"] = ath(&token).into();
        claims
    };
    for (member, value) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("typ", json!("JWT")),
        ("typ", json!("at+jwt")),
        ("crit", json!(["exp"])),
        ("jwk", json!({"kty": "oct", "k": "c2VjcmV0"})),
        ("jwk", Prover::new().jwk()),
    ] {
        let mut header = prover.header();
        header[member] = value.clone();
        let found = world.read(&token, &prover.seal(&header, &claims()));
        assert_eq!(found, refused("dpop_proof_invalid"), "{member} {value}");
    }
    let mut private = prover.header();
    private["jwk"]["d"] = "AAAA".into();
    let found = world.read(&token, &prover.seal(&private, &claims()));
    assert_eq!(found, refused("dpop_proof_invalid"));
    let mut long = claims();
    long["more"] = "x".repeat(8 * 1024).into();
    let found = world.read(&token, &prover.seal(&prover.header(), &long));
    assert_eq!(found, refused("dpop_proof_invalid"));
    let authorization = format!("DPoP {token}");
    let one = prover.seal(&prover.header(), &claims());
    let other = prover.seal(&prover.header(), &claims());
    let fields = [
        ("Authorization", &*authorization),
        ("DPoP", &*one),
        ("DPoP", &*other),
    ];
    let twice = world.gateway.stranger().get_with("/read", &fields);
    assert_eq!(fate(&twice), refused("dpop_proof_invalid"));
}

#[test]
fn the_token_endpoint_refuses_a_proof_that_does_not_count_and_mints_nothing() {
    let world = world(false);
    let prover = Prover::new();
    let endpoint = url("/oauth2/token");
    let grant = "grant_type=client_credentials";
    let bad = |reason: &str| (400, "invalid_dpop_proof".to_owned(), reason.to_owned());
    let wrong_method = prover.prove("GET", &endpoint, None);
    assert_eq!(
        error(&world.ask(grant, &[&wrong_method])),
        bad("dpop_proof_mismatch")
    );
    let elsewhere = prover.prove("POST", &url("/read"), None);
    assert_eq!(
        error(&world.ask(grant, &[&elsewhere])),
        bad("dpop_proof_mismatch")
    );
    assert_eq!(
        error(&world.ask(grant, &["a.b.c"])),
        bad("dpop_proof_invalid")
    );
    let (one, two) = (
        prover.prove("POST", &endpoint, None),
        prover.prove("POST", &endpoint, None),
    );
    assert_eq!(
        error(&world.ask(grant, &[&one, &two])),
        bad("dpop_proof_invalid")
    );
    assert_eq!(world.ask(grant, &[&one]).status, 200);
    assert_eq!(
        error(&world.ask(grant, &[&one])),
        bad("dpop_proof_replayed")
    );

    // What has just worked had a proof; a use does not say so, and the change has to be confirmed.
    let bind = ["app", "set", "acme", "binding=dpop"];
    let asked = world.gateway.cli(&bind);
    assert!(asked.stderr.contains("confirmation_needed"), "{asked:?}");
    world.gateway.cli_json(&[&bind[..], &["--yes"]].concat());
    assert_eq!(error(&world.ask(grant, &[])), bad("dpop_proof_missing"));
    assert_eq!(world.ask(grant, &[&two]).status, 200);
    let metadata = world
        .gateway
        .stranger()
        .get("/.well-known/oauth-authorization-server");
    let algorithms = metadata.json()["dpop_signing_alg_values_supported"].to_string();
    assert!(algorithms.contains("ES256") && !algorithms.contains("RS256"));
}

#[test]
fn a_nonce_is_given_and_wanted() {
    let world = world(true);
    let prover = Prover::new();
    let endpoint = url("/oauth2/token");
    let grant = "grant_type=client_credentials";
    let asked = world.ask(grant, &[&prover.prove("POST", &endpoint, None)]);
    let wanted = (
        400,
        "use_dpop_nonce".to_owned(),
        "dpop_nonce_wanted".to_owned(),
    );
    assert_eq!(error(&asked), wanted);
    let nonce = asked.header("dpop-nonce").unwrap().to_owned();
    let proof = prover.prove_with("POST", &endpoint, None, Some(&nonce));
    let answer = world.ask(grant, &[&proof]);
    let token = member(&answer, "access_token");
    let next = answer.header("dpop-nonce").unwrap();
    assert!(!next.is_empty());

    let here = url("/read");
    let partner = world.gateway.stranger();
    for _ in 0..30 {
        // As often as one likes: nobody is locked out for the want of a nonce.
        let without = prover.prove("GET", &here, Some(&token));
        let asked = call(&partner, "/read", &token, &without);
        assert_eq!(fate(&asked), refused("dpop_nonce_wanted"));
        let challenge = asked.header("www-authenticate").unwrap();
        assert!(
            challenge.contains("error=\"use_dpop_nonce\""),
            "{challenge}"
        );
        let nonce = asked.header("dpop-nonce").unwrap();
        let with = prover.prove_with("GET", &here, Some(&token), Some(nonce));
        assert_eq!(call(&partner, "/read", &token, &with).status, 200);
    }
    let made_up = prover.prove_with("GET", &here, Some(&token), Some("AAAA"));
    assert_eq!(world.read(&token, &made_up), refused("dpop_nonce_wanted"));
}

#[test]
fn a_session_is_refreshed_and_a_token_narrowed_by_the_holder_of_the_key_alone() {
    let world = world(false);
    let (prover, thief) = (Prover::new(), Prover::new());
    let endpoint = url("/oauth2/token");
    let by = |prover: &Prover| prover.prove("POST", &endpoint, None);
    let vouch = format!(
        "{EXCHANGE}&subject_token=alice&subject_token_type=urn:countersign:token-type:user"
    );
    let auth = member(&world.ask(&vouch, &[]), "access_token");
    let login = format!(
        "{EXCHANGE}&subject_token={auth}&subject_token_type=urn:countersign:token-type:auth"
    );
    let session = world.ask(&login, &[&by(&prover)]);
    assert_eq!(session.json()["token_type"], "DPoP");
    let refresh = member(&session, "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let invalid = (400, "invalid_grant".to_owned(), "grant_invalid".to_owned());
    assert_eq!(error(&world.ask(&form, &[])), invalid);
    let stolen = world.ask(&form, &[&by(&thief)]);
    assert_eq!(error(&stolen), invalid);
    let id = stolen.header("x-request-id").unwrap();
    assert_eq!(world.gateway.record_of(id)["reason"], "token_binding");
    // Neither has used the refresh token up.
    let next = world.ask(&form, &[&by(&prover)]);
    let token = member(&next, "access_token");
    let proof = prover.prove("GET", &url("/read"), Some(&token));
    assert_eq!(world.read(&token, &proof).0, 200);

    let narrow = format!(
        "{EXCHANGE}&subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:access_token"
    );
    assert_eq!(error(&world.ask(&narrow, &[])), invalid);
    assert_eq!(error(&world.ask(&narrow, &[&by(&thief)])), invalid);
    let narrowed = world.ask(&narrow, &[&by(&prover)]);
    assert_eq!(narrowed.json()["token_type"], "DPoP");
}

#[test]
fn of_fifty_who_show_one_proof_one_passes() {
    let world = world(false);
    let prover = Prover::new();
    let token = world.token(&prover);
    let proof = prover.prove("GET", &url("/read"), Some(&token));
    let passed = thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..50 {
            threads.push(scope.spawn(|| world.read(&token, &proof)));
        }
        let fates = threads.into_iter().map(|thread| thread.join().unwrap());
        let others = |fate: &(u16, String)| {
            assert!(
                fate.0 == 200 || fate.1 == "dpop_proof_replayed" || fate.1 == "auth_rate_limited",
                "{fate:?}"
            );
            fate.0 == 200
        };
        fates.filter(others).count()
    });
    assert_eq!(passed, 1);
    assert_eq!(world.echo.requests(), 1);
}

#[test]
fn an_upstream_gets_a_proof_where_it_gets_the_token() {
    let world = world(false);
    let prover = Prover::new();
    let token = world.token(&prover);
    let partner = world.gateway.stranger();
    let proof = prover.prove("GET", &url("/kept"), Some(&token));
    let kept = call(&partner, "/kept", &token, &proof);
    assert!(kept.text().contains(&proof), "{kept:?}");
    let proof = prover.prove("GET", &url("/open"), Some(&token));
    let ours = call(&partner, "/open", &token, &proof);
    assert!(ours.status == 200 && !ours.text().contains(&proof));
    let foreign = call(&partner, "/open", "of-another-issuer", &proof);
    assert!(foreign.text().contains(&proof), "the API may verify it");
}
