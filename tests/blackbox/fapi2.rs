//! `tokens.profile: fapi2`: what the FAPI 2.0 Security Profile asks of an authorization server and a resource server, as
//! far as the gateway offers it. docs/reference/fapi2.md names the test of each requirement.

use serde_json::{Value, json};

use crate::support::client::{Answer, Partner};
use crate::support::dpop::{Prover, call};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::process::run;
use crate::support::upstream::Echo;

const ROUTES: &str =
    "      - { match: { prefix: /read }, require: token, scopes: [orders:read], upstream: api }
      - { match: { prefix: /write }, require: token, scopes: [orders:write], upstream: api }";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const BEARER: &str =
    "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
const EXCHANGE: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";

struct World {
    gateway: Gateway,
    /// The id of a Key, its secret, and the private key of its App.
    client: (String, String),
    signer: Prover,
    text: String,
    echo: Echo,
}

fn world_of(tokens: &str) -> World {
    let echo = Echo::start();
    let tokens = format!("tokens: {{ dpop_nonces: false, {tokens}");
    let text = config(&echo.url(), ROUTES).replace("tokens: {", &tokens);
    let gateway = Gateway::start(&text);
    gateway.cli_json(&["app", "create", "acme"]);
    let signer = Prover::new();
    let file = gateway.dir().join("acme.jwks.json");
    std::fs::write(&file, signer.jwks()).unwrap();
    let setting = format!("jwks={}", file.display());
    gateway.cli_json(&["app", "set", "acme", &setting]);
    let own = ["countersign:vouch", "countersign:introspect", "orders:read"];
    let client = gateway.key("acme", &own);
    World {
        gateway,
        client,
        signer,
        text,
        echo,
    }
}

fn world() -> World {
    world_of("profile: fapi2,")
}

fn issuer() -> String {
    format!("https://{HOST}")
}

fn url(path: &str) -> String {
    format!("https://{HOST}{path}")
}

fn ask(partner: &Partner, grant: &str, assertion: &str, proof: Option<&str>) -> Answer {
    let form = format!("{grant}&client_assertion={assertion}&{BEARER}");
    let mut fields = vec![FORM];
    fields.extend(proof.map(|proof| ("DPoP", proof)));
    partner.post("/oauth2/token", &fields, form.as_bytes())
}

impl World {
    fn assertion(&self) -> String {
        self.signer.assertion(&self.client.0, &issuer())
    }

    fn granted(&self, grant: &str, prover: &Prover) -> Answer {
        let proof = prover.prove("POST", &url("/oauth2/token"), None);
        let partner = self.gateway.stranger();
        ask(&partner, grant, &self.assertion(), Some(&proof))
    }

    fn metadata(&self) -> Value {
        let partner = self.gateway.stranger();
        partner
            .get("/.well-known/oauth-authorization-server")
            .json()
    }
}

const OWN: &str = "grant_type=client_credentials";

#[track_caller]
fn member(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()[name].as_str().unwrap().to_owned()
}

fn error(answer: &Answer) -> String {
    let told = answer.json();
    told["error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_metadata_names_what_is_on_and_nothing_else() {
    let world = world();
    let told = world.metadata();
    for endpoint in ["token", "introspection", "revocation"] {
        let methods = &told[format!("{endpoint}_endpoint_auth_methods_supported")];
        assert_eq!(*methods, json!(["private_key_jwt"]), "{endpoint}");
        let name = format!("{endpoint}_endpoint_auth_signing_alg_values_supported");
        assert_eq!(told[name], json!(["PS256", "ES256", "EdDSA"]));
    }
    let proofs = &told["dpop_signing_alg_values_supported"];
    assert_eq!(*proofs, json!(["ES256", "PS256", "EdDSA", "Ed25519"]));
    assert_eq!(told["tls_client_certificate_bound_access_tokens"], true);
    assert!(
        !told["grant_types_supported"]
            .to_string()
            .contains("password")
    );
}

#[test]
fn a_client_authenticates_by_a_certificate_or_a_signature_and_by_no_secret() {
    let world = world_of(
        "profile: fapi2, client_auth: [client_secret_basic, private_key_jwt, tls_client_auth],",
    );
    let (id, secret) = &world.client;
    let by_secret = world.gateway.stranger().exchange(id, secret);
    assert_eq!(error(&by_secret), "invalid_client");
    let methods = &world.metadata()["token_endpoint_auth_methods_supported"];
    assert_eq!(*methods, json!(["private_key_jwt", "tls_client_auth"]));
    let enrolled = world.gateway.enrol_again("acme", "prod");
    let form = format!("{OWN}&client_id={id}");
    let by_certificate = enrolled
        .partner
        .post("/oauth2/token", &[FORM], form.as_bytes());
    let token = member(&by_certificate, "access_token");
    assert_eq!(enrolled.partner.get_by("/read", &token).status, 200);
    assert_eq!(world.granted(OWN, &Prover::new()).status, 200);
}

#[test]
fn an_assertion_is_for_the_issuer_alone_and_by_an_algorithm_of_the_profile() {
    let world = world();
    let prover = Prover::new();
    let header = json!({"alg": "ES256", "kid": "k"});
    for audience in [
        json!(url("/oauth2/token")),
        json!([issuer()]),
        json!([issuer(), "https://another.test"]),
        json!("https://another.test"),
    ] {
        let mut claims = world.signer.assertion_claims(&world.client.0, "");
        claims["aud"] = audience.clone();
        let assertion = world.signer.seal(&header, &claims);
        let proof = prover.prove("POST", &url("/oauth2/token"), None);
        let partner = world.gateway.stranger();
        let refused = ask(&partner, OWN, &assertion, Some(&proof));
        assert_eq!(error(&refused), "invalid_client", "{audience}");
    }
    for algorithm in ["RS256", "none", "HS256", "ES384"] {
        let claims = world.signer.assertion_claims(&world.client.0, &issuer());
        let assertion = world
            .signer
            .seal(&json!({"alg": algorithm, "kid": "k"}), &claims);
        let proof = prover.prove("POST", &url("/oauth2/token"), None);
        let partner = world.gateway.stranger();
        let refused = ask(&partner, OWN, &assertion, Some(&proof));
        assert_eq!(error(&refused), "invalid_client", "{algorithm}");
    }
    // An assertion of the near future is taken, one of the far future is not.
    for (ahead, status) in [(10, 200), (61, 401)] {
        let mut claims = world.signer.assertion_claims(&world.client.0, &issuer());
        let now = claims["iat"].as_u64().unwrap();
        claims["iat"] = (now + ahead).into();
        claims["nbf"] = (now + ahead).into();
        claims["exp"] = (now + ahead + 60).into();
        let assertion = world.signer.seal(&header, &claims);
        let proof = prover.prove("POST", &url("/oauth2/token"), None);
        let partner = world.gateway.stranger();
        let answer = ask(&partner, OWN, &assertion, Some(&proof));
        assert_eq!(answer.status, status, "{ahead}");
    }
}

#[test]
fn no_token_is_minted_that_is_not_bound_and_none_is_accepted() {
    let world = world();
    let partner = world.gateway.stranger();
    let unbound = ask(&partner, OWN, &world.assertion(), None);
    assert_eq!(
        (unbound.status, &*error(&unbound)),
        (400, "invalid_dpop_proof")
    );
    let prover = Prover::new();
    let token = member(&world.granted(OWN, &prover), "access_token");
    let proof = prover.prove("GET", &url("/read"), Some(&token));
    assert_eq!(call(&partner, "/read", &token, &proof).status, 200);
    let bearer = partner.get_by("/read", &token);
    assert_eq!(bearer.reason(), "dpop_proof_missing");
    let in_query = partner.get(&format!("/read?access_token={token}"));
    assert_eq!(in_query.reason(), "credential_missing");
    let proof = prover.prove("GET", &url("/write"), Some(&token));
    assert_eq!(
        call(&partner, "/write", &token, &proof).reason(),
        "scope_missing"
    );
}

#[test]
fn a_token_from_before_the_profile_is_refused_unless_it_is_bound() {
    let world = world_of("");
    let (id, secret) = &world.client;
    let unbound = world.gateway.stranger().token(id, secret);
    let prod = world.gateway.enrol_again("acme", "prod");
    let second = world.gateway.enrol_again("acme", "second");
    world
        .gateway
        .cli_json(&["app", "set", "acme", "binding=app"]);
    let bound = prod.partner.token(id, secret);
    assert_eq!(
        world.gateway.stranger().get_by("/read", &unbound).status,
        200
    );
    assert_eq!(second.partner.get_by("/read", &bound).status, 200);
    let text = world.text.replace("tokens: {", "tokens: { profile: fapi2,");
    world.gateway.configure(&text);
    world.gateway.cli(&["reload"]).ok();
    let refused = world.gateway.stranger().get_by("/read", &unbound);
    assert_eq!(refused.reason(), "token_binding");
    assert_eq!(prod.partner.get_by("/read", &bound).status, 200);
    let other = second.partner.get_by("/read", &bound);
    assert_eq!(
        other.reason(),
        "token_binding",
        "the certificate of the token alone"
    );
    assert!(world.echo.requests() >= 3);
}

#[test]
fn refresh_tokens_are_bound_and_do_not_rotate() {
    let world = world();
    let (prover, thief) = (Prover::new(), Prover::new());
    let user = "subject_token=alice&subject_token_type=urn:countersign:token-type:user";
    let auth = member(
        &world.granted(&format!("{EXCHANGE}&{user}"), &prover),
        "access_token",
    );
    let login = format!(
        "{EXCHANGE}&subject_token={auth}&subject_token_type=urn:countersign:token-type:auth"
    );
    let refresh = member(&world.granted(&login, &prover), "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    for _ in 0..3 {
        let next = world.granted(&form, &prover);
        assert_eq!(member(&next, "refresh_token"), refresh);
        assert_eq!(next.json()["token_type"], "DPoP");
    }
    assert_eq!(error(&world.granted(&form, &thief)), "invalid_grant");
    assert_eq!(
        world.granted(&form, &prover).status,
        200,
        "the theft ends nothing"
    );
}

#[test]
fn an_api_can_verify_and_ask_about_a_token() {
    let world = world();
    let prover = Prover::new();
    let token = member(&world.granted(OWN, &prover), "access_token");
    let form = format!(
        "token={token}&client_assertion={}&{BEARER}",
        world.assertion()
    );
    let partner = world.gateway.stranger();
    let about = partner
        .post("/oauth2/introspect", &[FORM], form.as_bytes())
        .json();
    assert_eq!(
        (&about["active"], &about["token_type"]),
        (&true.into(), &"DPoP".into())
    );
    assert!(about["cnf"]["jkt"].is_string() && about["scope"].is_string());
    assert!(about["exp"].as_u64().unwrap() - about["iat"].as_u64().unwrap() <= 3600);
    let form = format!(
        "token={token}&client_assertion={}&{BEARER}",
        world.assertion()
    );
    assert_eq!(
        partner
            .post("/oauth2/revoke", &[FORM], form.as_bytes())
            .status,
        200
    );
    let proof = prover.prove("GET", &url("/read"), Some(&token));
    let ended = call(&partner, "/read", &token, &proof);
    assert_eq!(ended.reason(), "credential_invalid");
}

#[test]
fn a_configuration_that_is_weaker_is_refused() {
    let world = world();
    for (tokens, said) in [
        ("client_auth: [client_secret_basic],", "tokens.client_auth"),
        ("ttl_bound: 2h,", "tokens.ttl_bound"),
    ] {
        let text = world
            .text
            .replace("tokens: {", &format!("tokens: {{ {tokens}"));
        let file = world.gateway.dir().join("weaker.yaml");
        std::fs::write(&file, text).unwrap();
        let program = env!("CARGO_BIN_EXE_countersign");
        let args = ["config", "check", file.to_str().unwrap()];
        let checked = run(world.gateway.dir(), program, &args);
        let output = format!("{checked:?}");
        assert!(output.contains(said), "{output}");
    }
}
