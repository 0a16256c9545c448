//! Opaque access tokens: what an App gets that sets `access_token_format=opaque`. They do all that JWTs do.

use serde_json::Value;

use crate::support::client::{Answer, Partner};
use crate::support::dpop::{Prover, call};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;

const ROUTES: &str =
    "      - { match: { prefix: /read }, require: token, scopes: [orders:read], upstream: api }
      - { match: { prefix: /open }, require: none, upstream: api }";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const EXCHANGE: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";
const OF_ACCESS: &str = "subject_token_type=urn:ietf:params:oauth:token-type:access_token";

type Key = (String, String);

struct World {
    gateway: Gateway,
    key: Key,
    echo: Echo,
}

fn world() -> World {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES).replace("tokens: {", "tokens: { dpop_nonces: false,");
    let gateway = Gateway::start(&text);
    gateway.cli_json(&["app", "create", "acme"]);
    gateway.cli_json(&["app", "set", "acme", "access_token_format=opaque"]);
    let own = ["countersign:introspect", "orders:read", "orders:list"];
    let key = gateway.key("acme", &own);
    World { gateway, key, echo }
}

fn post(partner: &Partner, path: &str, key: &Key, form: &str) -> Answer {
    let client = data_encoding::BASE64.encode(format!("{}:{}", key.0, key.1).as_bytes());
    let fields = [FORM, ("Authorization", &*format!("Basic {client}"))];
    partner.post(path, &fields, form.as_bytes())
}

#[track_caller]
fn member(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()[name].as_str().unwrap().to_owned()
}

impl World {
    fn token(&self, partner: &Partner) -> String {
        partner.token(&self.key.0, &self.key.1)
    }

    fn introspect(&self, token: &str) -> Value {
        let form = format!("token={token}");
        let partner = self.gateway.stranger();
        post(&partner, "/oauth2/introspect", &self.key, &form).json()
    }
}

#[test]
fn an_opaque_token_says_nothing_and_does_all_that_a_jwt_does() {
    let world = world();
    let partner = world.gateway.stranger();
    let token = world.token(&partner);
    assert!(token.starts_with("cs_access_") && !token.contains('.'));
    assert!(token.len() < 1200, "{}", token.len());
    let passed = partner.get_by("/read", &token);
    assert_eq!(passed.status, 200);
    assert!(!passed.text().contains(&token));
    let open = partner.get_by("/open", &token);
    assert!(open.status == 200 && !open.text().contains(&token));

    let about = world.introspect(&token);
    assert_eq!(
        (&about["active"], &about["token_type"]),
        (&true.into(), &"Bearer".into())
    );
    assert_eq!(about["scope"], "orders:list orders:read");

    let narrow = format!("{EXCHANGE}&subject_token={token}&{OF_ACCESS}&scope=orders:list");
    let narrowed = post(&partner, "/oauth2/token", &world.key, &narrow);
    assert!(member(&narrowed, "access_token").starts_with("cs_access_"));
    assert_eq!(narrowed.json()["scope"], "orders:list");
    world.gateway.cli_json(&["app", "create", "other"]);
    let other = world.gateway.key("other", &[]);
    let stolen = post(&partner, "/oauth2/token", &other, &narrow);
    assert_eq!(stolen.json()["error"], "invalid_grant");

    let revoked = post(
        &partner,
        "/oauth2/revoke",
        &world.key,
        &format!("token={token}"),
    );
    assert_eq!(revoked.status, 200);
    assert_eq!(
        partner.get_by("/read", &token).reason(),
        "credential_invalid"
    );
    assert_eq!(world.introspect(&token)["active"], false);
}

#[test]
fn an_opaque_token_is_bound_to_a_certificate_and_to_a_key() {
    let world = world();
    let enrolled = world.gateway.enrol_again("acme", "prod");
    let bound = world.token(&enrolled.partner);
    assert_eq!(enrolled.partner.get_by("/read", &bound).status, 200);
    let stolen = world.gateway.stranger().get_by("/read", &bound);
    assert_eq!(stolen.reason(), "token_binding");

    let (prover, partner) = (Prover::new(), world.gateway.stranger());
    let url = |path: &str| format!("https://{HOST}{path}");
    let client =
        data_encoding::BASE64.encode(format!("{}:{}", world.key.0, world.key.1).as_bytes());
    let proof = prover.prove("POST", &url("/oauth2/token"), None);
    let fields = [
        FORM,
        ("Authorization", &*format!("Basic {client}")),
        ("DPoP", &*proof),
    ];
    let answer = partner.post("/oauth2/token", &fields, b"grant_type=client_credentials");
    assert_eq!(answer.json()["token_type"], "DPoP");
    let token = member(&answer, "access_token");
    let proof = prover.prove("GET", &url("/read"), Some(&token));
    assert_eq!(call(&partner, "/read", &token, &proof).status, 200);
    assert_eq!(
        partner.get_by("/read", &token).reason(),
        "dpop_proof_missing"
    );
}

#[test]
fn an_opaque_token_survives_a_restart_and_a_rotation_of_the_token_key() {
    let world = world();
    let token = world.token(&world.gateway.stranger());
    world.gateway.cli(&["token-key", "rotate", "--yes"]).ok();
    assert_eq!(world.gateway.stranger().get_by("/read", &token).status, 200);
    let World { gateway, echo, .. } = world;
    let dir = gateway.kill();
    let text = std::fs::read_to_string(dir.path().join("countersign.yaml")).unwrap();
    let gateway = Gateway::start_in(dir, &text);
    assert_eq!(gateway.stranger().get_by("/read", &token).status, 200);
    gateway
        .cli(&["token-key", "rotate", "--end-tokens", "--yes"])
        .ok();
    let ended = gateway.stranger().get_by("/read", &token);
    assert_eq!(ended.reason(), "credential_invalid");
    drop(echo);
}
