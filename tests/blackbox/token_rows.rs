//! What published systems promise of their token services, by our own paths. Each test's name begins with the row that
//! it shows.

use serde_json::Value;

use crate::support::client::{Answer, Partner};
use crate::support::eventually::eventually;
use crate::support::gateway::{Enrolled, Gateway, HOST, certificate_alone, config};
use crate::support::process::run;
use crate::support::upstream::Echo;

const ROUTES: &str =
    "      - { match: { prefix: /read }, require: token, scopes: [orders:read], upstream: api }
      - { match: { prefix: /write }, require: token, scopes: [orders:write], upstream: api }
      - { match: { prefix: /bound }, require: mtls_and_token, upstream: api }";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const EXCHANGE: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";

/// A client: its id and its secret.
type Key = (String, String);

struct World {
    gateway: Gateway,
    server: Key,
    device: Key,
    certificate: Enrolled,
    _echo: Echo,
}

fn world() -> World {
    world_of(str::to_owned)
}

fn world_of(change: fn(&str) -> String) -> World {
    let echo = Echo::start();
    let gateway = Gateway::start(&change(&config(&echo.url(), ROUTES)));
    let certificate = gateway.enrol("acme");
    let own = ["countersign:vouch", "countersign:introspect", "orders:read"];
    World {
        server: gateway.key("acme", &own),
        device: gateway.key("acme", &["orders:read"]),
        gateway,
        certificate,
        _echo: echo,
    }
}

impl World {
    fn stranger(&self) -> Partner {
        self.gateway.stranger()
    }

    fn with_certificate(&self) -> Partner {
        let Enrolled {
            certificate, key, ..
        } = &self.certificate;
        self.gateway.partner(certificate, key)
    }

    fn auth_token(&self, user: &str, device: &str) -> String {
        let form = format!(
            "{EXCHANGE}&subject_token={user}&subject_token_type=urn:countersign:token-type:user&device_id={device}"
        );
        member(
            &basic(&self.stranger(), "/oauth2/token", &self.server, &form),
            "access_token",
        )
    }

    fn login(&self, auth: &str, more: &str) -> Answer {
        let form = format!(
            "{EXCHANGE}&subject_token={auth}&subject_token_type=urn:countersign:token-type:auth{more}"
        );
        basic(&self.stranger(), "/oauth2/token", &self.device, &form)
    }

    fn introspect(&self, token: &str) -> Value {
        let form = format!("token={token}");
        basic(&self.stranger(), "/oauth2/introspect", &self.server, &form).json()
    }
}

fn basic(partner: &Partner, path: &str, key: &Key, form: &str) -> Answer {
    let client = data_encoding::BASE64.encode(format!("{}:{}", key.0, key.1).as_bytes());
    let fields = [FORM, ("Authorization", &*format!("Basic {client}"))];
    partner.post(path, &fields, form.as_bytes())
}

fn credentials(partner: &Partner, key: &Key) -> Answer {
    basic(
        partner,
        "/oauth2/token",
        key,
        "grant_type=client_credentials",
    )
}

fn member(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()[name].as_str().unwrap().to_owned()
}

fn error(answer: &Answer) -> (u16, String) {
    let error = answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, error)
}

fn said(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

#[test]
fn pb_01_a_server_gets_a_token_without_a_browser() {
    let world = world();
    let answer = credentials(&world.stranger(), &world.device);
    let told = answer.json();
    assert_eq!(
        (answer.status, &told["token_type"]),
        (200, &"Bearer".into())
    );
    assert!(told["expires_in"].is_u64());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn pb_02_the_pair_comes_in_the_field_or_in_the_form_and_never_in_the_query() {
    let world = world();
    let partner = world.stranger();
    let (id, secret) = &world.device;
    let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    member(
        &partner.post("/oauth2/token", &[FORM], form.as_bytes()),
        "access_token",
    );
    let query = format!("/oauth2/token?client_id={id}&client_secret={secret}");
    let answer = partner.post(&query, &[FORM], b"grant_type=client_credentials");
    assert_eq!(error(&answer), said(400, "invalid_request"));
    assert_eq!(partner.get("/oauth2/token").status, 405);
    let lines = world.gateway.access_log();
    assert!(
        !format!("{lines:?}").contains(secret.as_str()),
        "a secret is in the log"
    );
}

#[test]
fn pb_03_two_credentials_of_an_app_are_told_apart_and_the_app_is_the_same() {
    let world = world();
    let seen = [&world.server, &world.device].map(|key| {
        let token = member(&credentials(&world.stranger(), key), "access_token");
        let told = world.introspect(&token);
        assert_eq!(told["client_id"], key.0.as_str());
        told["app"].as_str().unwrap().to_owned()
    });
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].starts_with("app_") && world.device.0.starts_with("key_"));
}

#[test]
fn pb_13_a_port_that_speaks_https_serves_nothing_in_plain_text() {
    let world = world();
    let url = format!("http://{}/read", world.gateway.partners());
    let args = ["-s", "-o", "body", "-w", "%{http_code}", "-H"];
    let host = format!("Host: {HOST}");
    let asked = run(
        world.gateway.dir(),
        "curl",
        &[&args[..], &[&host, &url]].concat(),
    );
    assert_eq!(asked.ok(), "400");
    let body = std::fs::read_to_string(world.gateway.dir().join("body")).unwrap();
    assert!(body.contains("This port speaks HTTPS"), "{body}");
}

#[test]
fn pb_16_the_whole_way_is_possible_with_curl_alone() {
    let world = world();
    let dir = world.gateway.dir();
    let port = world.gateway.partners().port();
    let ca = world.gateway.ca();
    let resolve = format!("{HOST}:{port}:127.0.0.1");
    let curl = |args: &[&str]| {
        let common = [
            "-sS",
            "--cacert",
            ca.to_str().unwrap(),
            "--resolve",
            &resolve,
        ];
        run(dir, "curl", &[&common[..], args].concat()).ok()
    };
    let url = |path: &str| format!("https://{HOST}:{port}{path}");
    let client = format!("{}:{}", world.device.0, world.device.1);
    let grant = ["-u", &client, "-d", "grant_type=client_credentials"];
    let answer = curl(&[&grant[..], &[&url("/oauth2/token")]].concat());
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let field = format!("Authorization: Bearer {token}");
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    let called = curl(&[&status[..], &["-H", &field, &url("/read")]].concat());
    assert_eq!(called, "200");
}

#[test]
fn pb_17_every_refusal_is_for_machines_and_has_its_code() {
    let world = world();
    let partner = world.stranger();
    let token = member(&credentials(&partner, &world.device), "access_token");
    let bearer = format!("Bearer {token}");
    for (answer, reason) in [
        (partner.get("/nowhere"), "route_unknown"),
        (partner.get("/read"), "credential_missing"),
        (
            partner.get_with("/read", &[("Authorization", "Bearer x.y.z")]),
            "credential_invalid",
        ),
        (
            partner.get_with("/write", &[("Authorization", &bearer)]),
            "scope_missing",
        ),
    ] {
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(answer.reason(), reason);
        assert!(answer.json()["request_id"].is_string());
    }
    let refused = credentials(&partner, &(world.device.0, "wrong".to_owned()));
    assert_eq!(refused.header("content-type"), Some("application/json"));
    assert_eq!(error(&refused), said(401, "invalid_client"));
    assert_eq!(refused.json()["reason"], "credential_invalid");
}

#[test]
fn pr_08_an_expired_token_is_an_invalid_one_and_the_log_says_that_it_expired() {
    let world = world_of(|config| config.replace("tokens: {", "tokens: { ttl: 1s,"));
    let partner = world.stranger();
    let token = member(&credentials(&partner, &world.device), "access_token");
    let answer = eventually("the token expires", || {
        let answer = partner.get_by("/read", &token);
        (answer.status != 200).then_some(answer)
    });
    let challenge = answer.header("www-authenticate").unwrap().to_owned();
    assert_eq!(answer.status, 401);
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(answer.reason(), "token_expired");
    assert_eq!(world.introspect(&token)["active"], false);
}

#[test]
fn pr_09_an_upstream_asks_about_a_token_and_a_stranger_may_not() {
    let world = world();
    let token = member(
        &credentials(&world.with_certificate(), &world.device),
        "access_token",
    );
    let told = world.introspect(&token);
    assert_eq!(told["active"], true);
    assert!(told["cnf"]["x5t#S256"].is_string());
    let form = format!("token={token}");
    let unknown = world
        .stranger()
        .post("/oauth2/introspect", &[FORM], form.as_bytes());
    assert_eq!(error(&unknown), said(401, "invalid_client"));
}

#[test]
fn in_01_nothing_is_reachable_without_a_token() {
    let world = world();
    let partner = world.stranger();
    let answer = partner.get("/read");
    assert_eq!(answer.status, 401);
    assert!(
        answer
            .header("www-authenticate")
            .unwrap()
            .starts_with("Bearer")
    );
    let token = member(&credentials(&partner, &world.device), "access_token");
    assert_eq!(partner.get_by("/read", &token).status, 200);
}

#[test]
fn in_05_a_bearer_token_works_from_anywhere_and_a_bound_one_beside_its_certificate() {
    let world = world();
    let free = member(
        &credentials(&world.stranger(), &world.device),
        "access_token",
    );
    let elsewhere = world.stranger().from("127.0.0.2".parse().unwrap());
    assert_eq!(elsewhere.get_by("/read", &free).status, 200);
    let bound = member(
        &credentials(&world.with_certificate(), &world.device),
        "access_token",
    );
    assert_eq!(world.stranger().get_by("/read", &bound).status, 401);
    assert_eq!(world.with_certificate().get_by("/read", &bound).status, 200);
}

#[test]
fn pk_09_a_credential_of_one_app_is_none_of_another() {
    let world = world();
    world.gateway.cli_json(&["app", "create", "other"]);
    let foreign = world.gateway.key("other", &["orders:read"]);
    let refused = credentials(&world.with_certificate(), &foreign);
    assert_eq!(error(&refused), said(401, "invalid_client"));
    let token = member(&credentials(&world.stranger(), &foreign), "access_token");
    let answer = world.with_certificate().get_by("/bound", &token);
    assert_eq!((answer.status, answer.reason()), said(403, "apps_differ"));
    let form = format!("token={token}");
    assert_eq!(
        basic(&world.stranger(), "/oauth2/revoke", &world.device, &form).status,
        200
    );
    assert_eq!(world.introspect(&token)["active"], true);
}

#[test]
fn pk_12_a_device_has_a_short_opaque_token_that_is_asked_about() {
    let world = world();
    let auth = world.auth_token("alice", "phone");
    assert!(auth.len() <= 100 && !auth.contains('.'));
    let told = world.introspect(&auth);
    assert_eq!(
        (&told["active"], &told["sub"]),
        (&true.into(), &"alice".into())
    );
    assert_eq!(world.login(&auth, "").status, 200);
    assert_eq!(
        world.introspect(&auth),
        serde_json::json!({ "active": false })
    );
}

#[test]
fn pk_14_the_route_comes_before_the_credential() {
    let world = world();
    let partner = world.stranger();
    let token = member(&credentials(&partner, &world.device), "access_token");
    for answer in [partner.get("/nowhere"), partner.get_by("/nowhere", &token)] {
        assert_eq!((answer.status, answer.reason()), said(404, "route_unknown"));
    }
    assert_eq!(partner.get("/read").status, 401);
    let broken = basic(&partner, "/oauth2/token", &world.device, "grant_type=%zz");
    assert_eq!(error(&broken), said(400, "invalid_request"));
}

#[test]
fn pk_17_a_user_cannot_ask_about_tokens() {
    let world = world();
    let login = world.login(&world.auth_token("alice", "phone"), "");
    let token = member(&login, "access_token");
    let fields = [FORM, ("Authorization", &*format!("Bearer {token}"))];
    let form = format!("token={token}");
    let answer = world
        .stranger()
        .post("/oauth2/introspect", &fields, form.as_bytes());
    assert_eq!(error(&answer), said(401, "invalid_client"));
}

#[test]
fn pk_22_a_request_that_is_not_as_it_should_be_is_refused_before_anything_else() {
    let world = world();
    let partner = world.stranger();
    let twice = "grant_type=client_credentials&grant_type=client_credentials";
    let twice = basic(&partner, "/oauth2/token", &world.device, twice);
    assert_eq!(error(&twice), said(400, "invalid_request"));
    let large = format!("grant_type=client_credentials&x={}", "a".repeat(1 << 20));
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
        let answer = basic(&world.stranger(), path, &world.server, &large);
        assert_eq!(
            (answer.status, answer.reason()),
            said(413, "body_too_large"),
            "{path}"
        );
        let fields = [("Content-Type", "application/json")];
        let json = partner.post(path, &fields, b"{}");
        assert_eq!(error(&json), said(400, "invalid_request"), "{path}");
    }
    let many = format!(
        "grant_type=client_credentials{}",
        "&resource=r".repeat(1000)
    );
    let many = basic(&partner, "/oauth2/token", &world.device, &many);
    assert_eq!(error(&many), said(400, "invalid_request"));
    let fields = [FORM];
    for body in [&b"grant_type=\xff\xfe"[..], b"\x00\x01\x02", b"&&&=&"] {
        let answer = partner.post("/oauth2/token", &fields, body);
        assert!([400, 401].contains(&answer.status), "{body:?}: {answer:?}");
    }
}

#[test]
fn sp_06_an_auth_token_is_for_one_user_one_device_and_one_purpose() {
    let world = world();
    let auth = world.auth_token("alice", "phone");
    let answer = world.stranger().get_by("/read", &auth);
    assert_eq!(answer.status, 401);
    let other = world.login(&auth, "&device_id=desk");
    assert_eq!(error(&other), said(400, "invalid_grant"));
    let short = world_of(|config| config.replace("tokens: {", "tokens: { auth_token_ttl: 1s,"));
    let late = short.auth_token("alice", "phone");
    eventually("the auth token expires", || {
        (short.introspect(&late)["active"] == false).then_some(())
    });
    assert_eq!(error(&short.login(&late, "")), said(400, "invalid_grant"));
}

#[test]
fn sp_07_kinds_of_tokens_do_not_stand_for_each_other() {
    let world = world();
    let auth = world.auth_token("alice", "phone");
    let login = world.login(&world.auth_token("bob", "phone"), "");
    let (access, refresh) = (
        member(&login, "access_token"),
        member(&login, "refresh_token"),
    );
    for wrong in [&access, &refresh, &world.device.1, &world.device.0] {
        assert_eq!(error(&world.login(wrong, "")), said(400, "invalid_grant"));
    }
    for wrong in [&access, &auth, &world.device.1] {
        let form = format!("grant_type=refresh_token&refresh_token={wrong}");
        let answer = basic(&world.stranger(), "/oauth2/token", &world.device, &form);
        assert_eq!(error(&answer), said(400, "invalid_grant"));
    }
    let subject = "&subject_token_type=urn:ietf:params:oauth:token-type:access_token";
    for wrong in [&refresh, &auth, &world.device.1] {
        let form = format!("{EXCHANGE}{subject}&subject_token={wrong}");
        let answer = basic(&world.stranger(), "/oauth2/token", &world.device, &form);
        assert_eq!(error(&answer), said(400, "invalid_grant"));
        let called = world.stranger().get_by("/read", wrong).status;
        // A Key is a valid credential of a kind that the route does not take.
        let expected = if wrong == &world.device.1 { 403 } else { 401 };
        assert_eq!(called, expected);
    }
    for wrong in [&access, &refresh, &auth] {
        let client = (world.device.0.clone(), wrong.clone());
        let answer = credentials(&world.stranger(), &client);
        assert_eq!(error(&answer), said(401, "invalid_client"));
    }
}

#[test]
fn sp_09_a_device_key_alone_makes_no_session() {
    let world = world();
    let form = format!(
        "{EXCHANGE}&subject_token=alice&subject_token_type=urn:countersign:token-type:user"
    );
    let answer = basic(&world.stranger(), "/oauth2/token", &world.device, &form);
    assert_eq!(error(&answer), said(400, "unauthorized_client"));
    let unknown = (
        "key_00000000000000000000000007".to_owned(),
        world.device.1.clone(),
    );
    let answer = basic(&world.stranger(), "/oauth2/token", &unknown, &form);
    assert_eq!(error(&answer), said(401, "invalid_client"));
}

#[test]
fn sp_11_a_certificate_is_a_factor_beside_the_secret() {
    let world = world_of(certificate_alone);
    let bound = credentials(&world.with_certificate(), &world.device);
    let told = world.introspect(&member(&bound, "access_token"));
    assert!(told["cnf"]["x5t#S256"].is_string());
    let form = format!("grant_type=client_credentials&client_id={}", world.device.0);
    let alone = world
        .with_certificate()
        .post("/oauth2/token", &[FORM], form.as_bytes());
    assert_eq!(alone.status, 200);
    let neither = world
        .stranger()
        .post("/oauth2/token", &[FORM], form.as_bytes());
    assert_eq!(error(&neither), said(401, "invalid_client"));
    let metadata = world
        .stranger()
        .get("/.well-known/oauth-authorization-server")
        .json();
    for name in [
        "token_endpoint",
        "introspection_endpoint",
        "revocation_endpoint",
    ] {
        assert_eq!(metadata["mtls_endpoint_aliases"][name], metadata[name]);
    }
}

#[test]
fn sp_15_a_phone_without_a_certificate_has_a_session() {
    let world = world();
    let login = world.login(&world.auth_token("alice", "phone"), "");
    let token = member(&login, "access_token");
    assert_eq!(world.stranger().get_by("/read", &token).status, 200);
}
