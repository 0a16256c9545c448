//! An App's settings say what its partner may use, and how.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::client::{Answer, Partner};
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config, config_with};
use crate::support::pki::{self, Stranger};
use crate::support::process::run;
use crate::support::upstream::{Echo, Secured};

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
    set(&gateway, &["auth_methods=private_key_jwt", "--yes"]);
    let refused = partner.exchange(&id, &secret);
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"], json!("invalid_client"));
    set(
        &gateway,
        &["auth_methods=client_secret_basic,client_secret_post"],
    );
    assert_eq!(partner.exchange(&id, &secret).status, 200);
}

/// A key pair of RSA by which a partner signs, made by OpenSSL.
struct Signer {
    key: PathBuf,
}

impl Signer {
    fn new(dir: &Path, name: &str) -> Self {
        let key = dir.join(format!("{name}.pem"));
        run(
            dir,
            "openssl",
            &["genrsa", "-out", key.to_str().unwrap(), "2048"],
        )
        .ok();
        Self { key }
    }

    fn jwks(&self, kid: &str) -> Value {
        let args = [
            "rsa",
            "-in",
            self.key.to_str().unwrap(),
            "-noout",
            "-modulus",
        ];
        let shown = run(self.dir(), "openssl", &args).ok();
        let hex = shown.trim().strip_prefix("Modulus=").unwrap();
        let modulus = data_encoding::HEXUPPER.decode(hex.as_bytes()).unwrap();
        json!({"keys": [{"kty": "RSA", "e": "AQAB", "n": part(&modulus), "kid": kid}]})
    }

    /// A JWT with these claims, by RS256.
    fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "kid": kid, "typ": "JWT"}).to_string();
        let content = format!(
            "{}.{}",
            part(header.as_bytes()),
            part(claims.to_string().as_bytes())
        );
        let (input, output) = (self.dir().join("content"), self.dir().join("signature"));
        std::fs::write(&input, &content).unwrap();
        let (input, output_text) = (input.to_str().unwrap(), output.to_str().unwrap());
        let key = self.key.to_str().unwrap();
        let args = ["dgst", "-sha256", "-sign", key, "-out", output_text, input];
        run(self.dir(), "openssl", &args).ok();
        format!("{content}.{}", part(&std::fs::read(output).unwrap()))
    }

    fn dir(&self) -> &Path {
        self.key.parent().unwrap()
    }
}

fn part(octets: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(octets)
}

/// Claims of a client's assertion for the issuer of the tests' configuration.
#[expect(
    clippy::disallowed_methods,
    reason = "the gateway compares with its own clock"
)]
fn assertion(client: &str, jti: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = now.as_secs();
    json!({"iss": client, "sub": client, "aud": format!("https://{HOST}"), "jti": jti, "iat": now, "exp": now + 60})
}

fn ask(partner: &Partner, assertion: &str) -> Answer {
    let form = format!(
        "grant_type=client_credentials&client_assertion={assertion}\
         &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
    );
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    partner.post("/oauth2/token", &[kind], form.as_bytes())
}

#[test]
fn pk_13_a_client_that_signs_gets_a_token_once_and_none_with_a_key_that_was_taken_away() {
    let (gateway, _echo) = gateway();
    let (client, _) = gateway.key("acme", &["orders:read"]);
    let partners = Signer::new(gateway.dir(), "acme-signer");
    let jwks = gateway.dir().join("acme.jwks.json");
    std::fs::write(&jwks, partners.jwks("first").to_string()).unwrap();
    set(
        &gateway,
        &[
            &format!("jwks={}", jwks.display()),
            "auth_methods=private_key_jwt",
        ],
    );
    let partner = gateway.stranger();

    let signed = partners.sign("first", &assertion(&client, "1"));
    let answer = ask(&partner, &signed);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(partner.get_by("/token", &token).status, 200);

    let refused = |assertion: &str, reason: &str| {
        let answer = ask(&partner, assertion);
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert_eq!(answer.json()["error"], json!("invalid_client"));
        assert_eq!(answer.json()["reason"], json!("credential_invalid"));
        let record = gateway.record_of(answer.header("x-request-id").unwrap());
        assert_eq!(record["reason"], json!(reason));
    };
    refused(&signed, "assertion_replayed");
    let mut late = assertion(&client, "2");
    late["exp"] = json!(late["exp"].as_u64().unwrap() + 7200);
    refused(&partners.sign("first", &late), "assertion_claims");
    refused(
        &partners.sign("second", &assertion(&client, "3")),
        "assertion_signature",
    );
    refused("e30.e30.", "assertion_malformed");

    set(&gateway, &["jwks="]);
    refused(
        &partners.sign("first", &assertion(&client, "4")),
        "assertion_keys",
    );
}

#[test]
fn pk_13_a_replayed_assertion_is_refused_after_a_restart_too() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let gateway = Gateway::start(&text);
    gateway.cli_json(&["app", "create", "acme"]);
    let (client, _) = gateway.key("acme", &[]);
    let partners = Signer::new(gateway.dir(), "acme-signer");
    let jwks = gateway.dir().join("acme.jwks.json");
    std::fs::write(&jwks, partners.jwks("k").to_string()).unwrap();
    set(&gateway, &[&format!("jwks={}", jwks.display())]);
    let signed = partners.sign("k", &assertion(&client, "1"));
    assert_eq!(ask(&gateway.stranger(), &signed).status, 200);
    let gateway = Gateway::start_in(gateway.kill(), &text);
    assert_eq!(ask(&gateway.stranger(), &signed).status, 401);
}

#[test]
fn sp_11_an_app_shows_its_certificate_where_it_has_to() {
    let (gateway, _echo) = gateway();
    let enrolled = gateway.enrol("partner");
    let other = gateway.enrol("other");
    let (id, secret) = gateway.key("partner", &[]);
    let stranger = gateway.stranger();
    let set = |mtls: &str| {
        gateway.cli_json(&["app", "set", "partner", &format!("mtls={mtls}"), "--yes"]);
    };
    set("token_endpoint");
    let refused = stranger.exchange(&id, &secret);
    assert_eq!(
        (refused.status, refused.json()["reason"].clone()),
        (401, json!("cert_required"))
    );
    assert_eq!(enrolled.partner.exchange(&id, &secret).status, 200);
    assert_ne!(other.partner.exchange(&id, &secret).status, 200);
    assert_eq!(
        stranger.get_by("/key", &secret).status,
        200,
        "routes ask as they did"
    );
    set("always");
    let refused = stranger.get_by("/key", &secret);
    assert_eq!(
        (refused.status, refused.reason()),
        (403, "cert_required".to_owned())
    );
    assert_eq!(
        other.partner.get_by("/key", &secret).reason(),
        "apps_differ"
    );
    assert_eq!(enrolled.partner.get_by("/key", &secret).status, 200);
    set("optional");
    let bound = enrolled.partner.token(&id, &secret);
    let renewed = gateway.enrol_again("partner", "renewed");
    assert_eq!(
        renewed.partner.get_by("/token", &bound).reason(),
        "token_binding"
    );
    gateway.cli_json(&["app", "set", "partner", "binding=app"]);
    assert_eq!(renewed.partner.get_by("/token", &bound).status, 200);
    assert_eq!(
        other.partner.get_by("/token", &bound).reason(),
        "token_binding"
    );
    assert_eq!(stranger.get_by("/token", &bound).reason(), "token_binding");
    gateway.cli_json(&["app", "set", "partner", "binding=none"]);
    let free = enrolled.partner.token(&id, &secret);
    assert_eq!(stranger.get_by("/token", &free).status, 200);
    gateway.cli_json(&["app", "set", "partner", "binding="]);
    set("off");
    let unbound = enrolled.partner.token(&id, &secret);
    assert_eq!(stranger.get_by("/token", &unbound).status, 200);
}

#[test]
fn sp_03_a_change_that_stops_a_client_says_what_it_stops_and_waits_for_a_yes() {
    let (gateway, _echo) = gateway();
    let (id, secret) = gateway.key("acme", &[]);
    let change = ["app", "set", "acme", "mtls=token_endpoint"];
    gateway.cli_json(&change);
    gateway.cli_json(&["app", "set", "acme", "mtls=optional"]);
    let partner = gateway.stranger();
    assert_eq!(partner.exchange(&id, &secret).status, 200);

    let refused = gateway.cli(&[&change[..], &["--output", "json"]].concat());
    assert_eq!(refused.code, 5, "{refused:?}");
    let told: Value = serde_json::from_str(&refused.stderr).unwrap();
    let problem = &told["error"]["problem"];
    assert_eq!(problem["reason"], json!("confirmation_needed"));
    assert_eq!(
        problem["affected"][0]["method"],
        json!("client_secret_post")
    );
    assert_eq!(problem["affected"][0]["certificate"], json!(false));
    let shown = gateway.cli(&change);
    assert!(
        shown
            .stderr
            .contains("client_secret_post without a certificate"),
        "{shown:?}"
    );
    assert!(shown.stderr.contains("--yes"), "{shown:?}");
    assert_eq!(
        partner.exchange(&id, &secret).status,
        200,
        "nothing was changed"
    );

    gateway.cli_json(&[&change[..], &["--yes"]].concat());
    assert_eq!(partner.exchange(&id, &secret).status, 401);
}

#[test]
fn pk_13_published_keys_are_fetched_and_kept_while_their_source_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Stranger::new(dir.path(), "their-ca", "/CN=their authority");
    let request = pki::request(dir.path(), "their-server");
    let leaf = authority.sign(
        &request,
        "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE",
    );
    let site = Secured::serving(dir.path(), &leaf, &request.key);
    let publish = |signer: &Signer, kid: &str| {
        std::fs::write(dir.path().join("jwks.json"), signer.jwks(kid).to_string()).unwrap();
    };
    let (first, second) = (
        Signer::new(dir.path(), "first"),
        Signer::new(dir.path(), "second"),
    );
    publish(&first, "1");
    let url = format!("jwks_url={}/jwks.json", site.url());
    let trusted = authority.certificate();
    let variables: &[(&str, &Path)] = &[("SSL_CERT_FILE", &trusted)];
    let echo = Echo::start();

    let gateway = Gateway::start_with(&config(&echo.url(), ROUTES), variables);
    gateway.cli_json(&["app", "create", "acme"]);
    let refused = gateway.cli(&["app", "set", "acme", &url]);
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(refused.stderr.contains("no public address"), "{refused:?}");
    drop(gateway);

    let text =
        config(&echo.url(), ROUTES).replacen("tokens: {", "tokens: { jwks_allow_private: true,", 1);
    let gateway = Gateway::start_with(&text, variables);
    gateway.cli_json(&["app", "create", "acme"]);
    let (client, _) = gateway.key("acme", &[]);
    let missing = gateway.cli(&["app", "set", "acme", &format!("{url}-not-there")]);
    assert_eq!(missing.code, 6, "{missing:?}");
    set(&gateway, &[&url]);
    let partner = gateway.stranger();
    assert_eq!(
        ask(&partner, &first.sign("1", &assertion(&client, "1"))).status,
        200
    );

    publish(&second, "2");
    let changed = second.sign("2", &assertion(&client, "2"));
    assert_eq!(
        ask(&partner, &changed).status,
        401,
        "it is fetched in the background"
    );
    drop(site);
    assert_eq!(
        ask(&partner, &first.sign("1", &assertion(&client, "3"))).status,
        200
    );
}

#[test]
fn pb_14_a_token_of_another_issuer_is_exchanged_for_ours() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Stranger::new(dir.path(), "their-ca", "/CN=their authority");
    let request = pki::request(dir.path(), "their-server");
    let leaf = authority.sign(
        &request,
        "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE",
    );
    let site = Secured::serving(dir.path(), &leaf, &request.key);
    let (idp, thief) = (
        Signer::new(dir.path(), "idp"),
        Signer::new(dir.path(), "thief"),
    );
    let jwks = idp.jwks("1").to_string();
    std::fs::write(dir.path().join("jwks.json"), jwks).unwrap();
    let issuers = format!(
        "issuers: {{ idp: {{ issuer: \"https://idp.test\", audiences: [acme], app: acme, keys: {{ jwks_url: \"{}/jwks.json\" }} }} }}",
        site.url()
    );
    let echo = Echo::start();
    let text = config_with(&echo.url(), ROUTES, &issuers);
    let text = text.replacen("tokens: {", "tokens: { jwks_allow_private: true,", 1);
    let trusted = authority.certificate();
    let gateway = Gateway::start_with(&text, &[("SSL_CERT_FILE", &trusted)]);
    gateway.cli_json(&["app", "create", "acme"]);
    let (id, secret) = gateway.key("acme", &[]);
    let partner = gateway.stranger();
    let exchange = |token: &str| {
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&client_id={id}&client_secret={secret}\
             &subject_token_type=urn:ietf:params:oauth:token-type:jwt&subject_token={token}"
        );
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        partner.post("/oauth2/token", &[kind], form.as_bytes())
    };
    let claims = |member: &str, value: Value| {
        let mut claims = assertion("alice", "1");
        claims["iss"] = json!("https://idp.test");
        claims["aud"] = json!("acme");
        claims[member] = value;
        claims
    };
    let good = idp.sign("1", &claims("nonce", json!(1)));
    let answer = eventually("the keys are fetched", || {
        Some(exchange(&good)).filter(|answer| answer.status == 200)
    });
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(partner.get_by("/token", &token).status, 200);
    let unsigned = {
        let body = good.split('.').nth(1).unwrap();
        format!("{}.{body}.", part(br#"{"alg":"none"}"#))
    };
    for (bad, reason) in [
        (thief.sign("1", &claims("nonce", json!(1))), "issuer_token"),
        (idp.sign("2", &claims("nonce", json!(1))), "issuer_token"),
        (
            idp.sign("1", &claims("aud", json!("other"))),
            "issuer_token",
        ),
        (idp.sign("1", &claims("exp", json!(1))), "issuer_token"),
        (
            idp.sign("1", &claims("iss", json!("https://evil.test"))),
            "issuer_unknown",
        ),
        (unsigned, "issuer_token"),
    ] {
        let refused = exchange(&bad);
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert_eq!(refused.json()["error"], json!("invalid_grant"));
        let record = gateway.record_of(refused.header("x-request-id").unwrap());
        assert_eq!(record["reason"], json!(reason));
    }
}
