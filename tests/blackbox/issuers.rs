//! Tokens of other issuers open the routes that name them, and upstreams get their claims.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

use crate::support::client::{Answer, Partner};
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, config_with};
use crate::support::source::Source;
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /theirs }, require: token, accept: [\"issuer:idp\"], upstream: api }
      - { match: { prefix: /both }, require: token, accept: [\"issuer:idp\", app_token], upstream: api }
      - { match: { prefix: /ours }, require: token, upstream: api }
      - { match: { prefix: /open }, require: none, upstream: api }";

fn part(octets: &[u8]) -> String {
    BASE64URL_NOPAD.encode(octets)
}

/// An issuer with a key of each usual kind.
struct Idp {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
}

impl Idp {
    fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        }
    }

    fn jwks(&self, kid: &str) -> String {
        let n = self.rsa.public_key().modulus();
        let n = part(n.big_endian_without_leading_zero());
        let (x, y) = self.ec.public_key().as_ref()[1..].split_at(32);
        let ec = json!({"kty": "EC", "crv": "P-256", "x": part(x), "y": part(y), "kid": format!("{kid}-ec")});
        let rsa =
            json!({"kty": "RSA", "e": "AQAB", "n": n, "kid": kid, "alg": "RS256", "use": "sig"});
        json!({"keys": [rsa, ec, {"kty": "oct-of-the-future"}]}).to_string()
    }

    fn seal(&self, header: &str, claims: &str) -> String {
        self.seal_by(&RSA_PKCS1_SHA256, header, claims)
    }

    fn seal_by(&self, padding: &'static dyn RsaEncoding, header: &str, claims: &str) -> String {
        let content = format!("{}.{}", part(header.as_bytes()), part(claims.as_bytes()));
        let mut signed = vec![0; self.rsa.public_modulus_len()];
        let random = SystemRandom::new();
        self.rsa
            .sign(padding, &random, content.as_bytes(), &mut signed)
            .unwrap();
        format!("{content}.{}", part(&signed))
    }

    fn by_ec(&self, header: &str, claims: &str) -> String {
        let content = format!("{}.{}", part(header.as_bytes()), part(claims.as_bytes()));
        let signed = self.ec.sign(&SystemRandom::new(), content.as_bytes());
        format!("{content}.{}", part(signed.unwrap().as_ref()))
    }

    fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "kid": kid, "typ": "JWT"});
        self.seal(&header.to_string(), &claims.to_string())
    }
}

fn by_secret(secret: &[u8], header: &str, claims: &str) -> String {
    let content = format!("{}.{}", part(header.as_bytes()), part(claims.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, content.as_bytes());
    format!("{content}.{}", part(tag.as_ref()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the gateway compares with its own clock"
)]
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// The claims of the partner PRIV's sample, with changes.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://idp.test", "aud": "acme", "sub": "alice",
        "iat": now(), "exp": now() + 300,
        "email": "alice@example.com", "role": "admin", "tier": "gold",
    });
    let members: Map<String, Value> = changes.as_object().cloned().unwrap_or_default();
    for (member, value) in members {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(&member);
        } else {
            claims[&member] = value;
        }
    }
    claims
}

/// The configuration of an issuer with this `keys` section and more of its keys.
fn text(echo: &Echo, issuer: &str) -> String {
    let text = config_with(
        &echo.url(),
        ROUTES,
        &format!("issuers: {{ idp: {issuer} }}"),
    );
    let failures = "address: \"127.0.0.1:0\", auth_failures: { rate: 100000/m, burst: 100000 }";
    text.replacen("address: \"127.0.0.1:0\"", failures, 1)
}

fn issuer(keys: &str) -> String {
    format!(
        "{{ issuer: \"https://idp.test\", audiences: [acme], app: acme, allow_private: true, {keys},
            claims: {{ role: X-User-Role, tier: X-User-Tier, email: X-User-Email, groups: X-User-Groups }} }}"
    )
}

struct Scene {
    gateway: Gateway,
    partner: Partner,
    source: Source,
    idp: Idp,
    _echo: Echo,
    _dir: tempfile::TempDir,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::start(dir.path());
    let idp = Idp::new();
    source.put("/jwks", &idp.jwks("1"));
    let echo = Echo::start();
    let keys = format!("keys: {{ jwks_url: \"{}/jwks\" }}", source.url());
    let text = text(&echo, &issuer(&keys));
    let gateway = Gateway::start_with(&text, &[("SSL_CERT_FILE", &source.trusted)]);
    gateway.cli_json(&["app", "create", "acme"]);
    let partner = gateway.stranger();
    let scene = Scene {
        gateway,
        partner,
        source,
        idp,
        _echo: echo,
        _dir: dir,
    };
    let token = scene.idp.sign("1", &claims(&json!({"jti": "first"})));
    eventually("the keys are fetched", || {
        Some(scene.partner.get_by("/theirs", &token)).filter(|answer| answer.status == 200)
    });
    scene
}

/// The values of a field as the upstream saw them.
fn seen(answer: &Answer, name: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    let fields = told["headers"].as_array().unwrap().iter();
    let same = |told: &str| told.replace('_', "-").eq_ignore_ascii_case(name);
    let named = fields.filter(|pair| same(pair[0].as_str().unwrap()));
    named
        .map(|pair| pair[1].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn pr_07_upstreams_get_the_claims_and_no_forged_copy() {
    let Scene {
        gateway,
        partner,
        idp,
        ..
    } = scene();
    let token = idp.sign("1", &claims(&json!({"groups": ["a", "b,c"]})));
    let bearer = format!("Bearer {token}");
    let forged = [
        ("Authorization", bearer.as_str()),
        ("X-User-Role", "root"),
        ("X_User_Role", "root"),
        ("x-user_tier", "platinum"),
        ("X.User.Email", "root@example.com"),
        ("X-User-Groups", "wheel"),
    ];
    for answer in [
        partner.get_with("/theirs", &forged),
        partner.get_h2("/theirs", &forged),
    ] {
        for (name, value) in [
            ("x-user-role", "admin"),
            ("x-user-tier", "gold"),
            ("x-user-email", "alice@example.com"),
            ("x-user-groups", "a,b%2Cc"),
            ("x-countersign-app-name", "acme"),
            ("x-countersign-auth-method", "token"),
            ("x-countersign-credential-id", "issuer:idp"),
        ] {
            assert_eq!(seen(&answer, name), [value], "{name}");
        }
        assert_eq!(seen(&answer, "authorization"), Vec::<String>::new());
    }
    // Without the claim there is no field, and on other routes neither.
    let bare =
        claims(&json!({"role": null, "tier": {"a": 1}, "email": "z\u{fc}rich\r\nX-Evil: 1"}));
    let answer = partner.get_with(
        "/theirs",
        &[
            ("Authorization", &format!("Bearer {}", idp.sign("1", &bare))),
            ("X-User-Role", "root"),
        ],
    );
    assert_eq!(seen(&answer, "x-user-role"), Vec::<String>::new());
    assert_eq!(seen(&answer, "x-user-tier"), Vec::<String>::new());
    assert_eq!(
        seen(&answer, "x-user-email"),
        ["z%C3%BCrich%0D%0AX-Evil: 1"]
    );
    assert_eq!(seen(&answer, "x-evil"), Vec::<String>::new());
    let answer = partner.get_with("/open", &[("X-User-Role", "root"), ("x_user_role", "root")]);
    assert_eq!(seen(&answer, "x-user-role"), Vec::<String>::new());
    let mut connection = partner.connect();
    connection.send(
        format!(
            "POST /theirs HTTP/1.1\r\nHost: api.example.test\r\nAuthorization: {bearer}\r\n\
             Transfer-Encoding: chunked\r\nConnection: X-User-Role, X-User-Tier\r\n\r\n\
             3\r\nabc\r\n0\r\nX-User-Role: root\r\nX-Sum: 7\r\n\r\n"
        )
        .as_bytes(),
    );
    let answer = connection.answer();
    assert_eq!(seen(&answer, "x-user-role"), ["admin"]);
    assert_eq!(seen(&answer, "x-user-tier"), ["gold"]);
    assert!(!answer.text().contains("root"), "{}", answer.text());
    // A claim that is too long refuses the token: the API would judge by less than the issuer has said.
    let long = idp.sign("1", &claims(&json!({"role": "r".repeat(2000)})));
    let refused = partner.get_by("/theirs", &long);
    assert_eq!(refused.status, 401, "{}", refused.text());
    assert!(gateway.count_of("countersign_header_spoof_attempts_total", "claim") >= 6);
}

#[test]
fn pb_14_a_token_counts_on_the_routes_that_name_its_issuer() {
    let Scene {
        gateway,
        partner,
        idp,
        ..
    } = scene();
    let theirs = idp.sign("1", &claims(&json!({})));
    let (id, secret) = gateway.key("acme", &[]);
    let ours = partner.token(&id, &secret);
    for (path, token, status) in [
        ("/theirs", &theirs, 200),
        ("/both", &theirs, 200),
        ("/ours", &theirs, 403),
        ("/theirs", &ours, 403),
        ("/both", &ours, 200),
        ("/ours", &ours, 200),
    ] {
        for _ in 0..2 {
            let answer = partner.get_by(path, token);
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            if status == 403 {
                assert_eq!(answer.reason(), "kind_not_accepted");
            }
        }
    }
    let refused = partner.get_by("/theirs", &ours).json();
    assert_eq!(refused["accept"], json!(["issuer:idp"]));
    gateway.cli_json(&["app", "suspend", "acme"]);
    assert_eq!(partner.get_by("/theirs", &theirs).status, 403);
    gateway.cli_json(&["app", "resume", "acme"]);
    assert_eq!(partner.get_by("/theirs", &theirs).status, 200);
}

/// Tokens as RFC 8725 and the known attacks have them: each is refused, and an honest one is taken after it.
#[test]
fn pb_14_forged_tokens_of_every_kind_are_refused() {
    let Scene {
        gateway,
        partner,
        idp,
        ..
    } = scene();
    let good = claims(&json!({}));
    let text = good.to_string();
    let header = |changes: Value| {
        let mut header = json!({"alg": "RS256", "kid": "1", "typ": "JWT"});
        for (member, value) in changes.as_object().unwrap() {
            header[member] = value.clone();
        }
        header.to_string()
    };
    let by = |changes: Value| idp.seal(&header(changes), &text);
    let with = |changes: Value| idp.sign("1", &claims(&changes));
    let plain = header(json!({}));
    let honest = idp.seal(&plain, &text);
    let (content, signature) = honest.rsplit_once('.').unwrap();
    let unsigned = |alg: &str| {
        let header = header(json!({"alg": alg}));
        format!("{}.{}.", part(header.as_bytes()), part(text.as_bytes()))
    };
    let pem = idp.jwks("1");
    let n = idp.rsa.public_key().modulus();
    let jwk: Value = serde_json::from_str(&pem).unwrap();
    let thief = Idp::new();
    let stolen: Value = serde_json::from_str(&thief.jwks("1")).unwrap();
    let own_key = header(json!({"jwk": stolen["keys"][0]}));
    let public = by_secret(
        n.big_endian_without_leading_zero(),
        &header(json!({"alg": "HS256"})),
        &text,
    );
    let now = now();
    let forged = [
        ("none", unsigned("none")),
        ("None", unsigned("None")),
        ("no signature", unsigned("RS256")),
        (
            "HS256 by the set",
            by_secret(pem.as_bytes(), &header(json!({"alg": "HS256"})), &text),
        ),
        ("HS256 by the modulus", public),
        ("another's key", thief.seal(&plain, &text)),
        ("a key in the header", thief.seal(&own_key, &text)),
        ("jwk", by(json!({"jwk": jwk["keys"][0]}))),
        ("jku", by(json!({"jku": "https://evil.test/jwks"}))),
        ("x5u", by(json!({"x5u": "https://evil.test/x"}))),
        ("x5c", by(json!({"x5c": ["AA=="]}))),
        ("crit", by(json!({"crit": ["exp"]}))),
        ("b64", by(json!({"b64": false, "crit": ["b64"]}))),
        ("zip", by(json!({"zip": "DEF"}))),
        ("typ", by(json!({"typ": "dpop+jwt"}))),
        (
            "typ of an assertion",
            by(json!({"typ": "client-authentication+jwt"})),
        ),
        ("kid", by(json!({"kid": "../../etc/passwd"}))),
        ("kid of another kind", by(json!({"kid": "1-ec"}))),
        ("kid is no text", by(json!({"kid": 1}))),
        ("alg RS512", by(json!({"alg": "RS512"}))),
        (
            "PS256 as RS256",
            idp.seal_by(&RSA_PSS_SHA256, &plain, &text),
        ),
        ("RS256 as PS256", by(json!({"alg": "PS256"}))),
        (
            "PS256",
            idp.seal_by(&RSA_PSS_SHA256, &header(json!({"alg": "PS256"})), &text),
        ),
        (
            "ES256 by a signature of RSA",
            by(json!({"alg": "ES256", "kid": "1-ec"})),
        ),
        (
            "two algs",
            idp.seal(r#"{"alg":"none","alg":"RS256","kid":"1"}"#, &text),
        ),
        ("aud", with(json!({"aud": "globex"}))),
        ("aud is absent", with(json!({"aud": null}))),
        (
            "aud is a list of others",
            with(json!({"aud": ["globex", "acme "]})),
        ),
        ("iss of another", with(json!({"iss": "https://idp.test/"}))),
        ("iss is absent", with(json!({"iss": null}))),
        ("expired", with(json!({"exp": now - 31}))),
        ("without exp", with(json!({"exp": null}))),
        ("exp is a text", with(json!({"exp": "9999999999"}))),
        ("exp is too large", with(json!({"exp": 1e30}))),
        ("nbf", with(json!({"nbf": now + 60}))),
        ("iat", with(json!({"iat": now + 60}))),
        ("cnf", with(json!({"cnf": {"jkt": "x"}}))),
        ("no sub", with(json!({"sub": null}))),
        ("empty sub", with(json!({"sub": ""}))),
        ("sub with a line", with(json!({"sub": "a\r\nX: y"}))),
        (
            "sub of an App",
            with(json!({"sub": "app_00000000000000000000000001"})),
        ),
        (
            "two subs",
            idp.seal(&plain, &text.replacen('{', r#"{"sub":"root","#, 1)),
        ),
        ("claims are a list", idp.seal(&plain, "[]")),
        ("cut", honest[..honest.len() - 2].to_owned()),
        ("padded", format!("{honest}=")),
        ("a fourth part", format!("{honest}.x")),
        (
            "another end",
            format!("{content}.{}", &signature[..signature.len() - 4]),
        ),
        (
            "encrypted",
            format!("{}.a.b.c.d", part(br#"{"alg":"dir","enc":"A128GCM"}"#)),
        ),
        ("20 KiB", with(json!({"x": "x".repeat(20_000)}))),
    ];
    for (kind, token) in forged {
        let refused = partner.get_by("/theirs", &token);
        assert_eq!(refused.status, 401, "{kind}: {}", refused.text());
        assert_eq!(partner.get_by("/theirs", &honest).status, 200, "{kind}");
    }
    // More than a head may have is refused before anything is read.
    let huge = partner.get_by("/theirs", &with(json!({"x": "x".repeat(100_000)})));
    assert!([400, 431].contains(&huge.status), "{}", huge.status);
    for (kind, token) in [
        ("within the skew", with(json!({"exp": now - 10}))),
        (
            "not before, within the skew",
            with(json!({"nbf": now + 10})),
        ),
        (
            "a list of audiences",
            with(json!({"aud": ["globex", "acme"]})),
        ),
        ("at+jwt", by(json!({"typ": "application/at+jwt"}))),
        (
            "ES256",
            idp.by_ec(&header(json!({"alg": "ES256", "kid": "1-ec"})), &text),
        ),
    ] {
        let answer = partner.get_by("/theirs", &token);
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
    }
    assert_eq!(gateway.count_of("countersign_panics_total", ""), 0);
}

#[test]
fn a_storm_of_unknown_keys_asks_a_slow_source_once() {
    let scene = scene();
    let before = scene.source.asked("/jwks");
    let set = scene.idp.jwks("1");
    let slow = Duration::from_secs(2);
    scene
        .source
        .put_document("/jwks", "200 OK", "", set.as_bytes(), slow);
    let honest = scene.idp.sign("1", &claims(&json!({})));
    let mut connection = scene.partner.connect();
    for number in 0..2_000 {
        let header = json!({"alg": "RS256", "kid": format!("k{number}"), "typ": "JWT"});
        let token = format!(
            "{}.{}.AAAA",
            part(header.to_string().as_bytes()),
            part(claims(&json!({})).to_string().as_bytes())
        );
        let bearer = format!("Bearer {token}");
        let answer = connection.request("GET", "/theirs", &[("Authorization", &bearer)], b"");
        assert_eq!(answer.status, 401);
    }
    assert_eq!(scene.partner.get_by("/theirs", &honest).status, 200);
    assert!(scene.source.asked("/jwks") <= before + 1);
}

#[test]
fn sources_that_answer_oddly_leave_the_last_set_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::start(dir.path());
    let idp = Idp::new();
    let echo = Echo::start();
    let keys = format!("keys: {{ jwks_url: \"{}/jwks\" }}", source.url());
    let section = issuer(&keys);
    let set = idp.jwks("1");
    let elsewhere = format!("Location: {}/other\r\n", source.url());
    source.put("/other", &set);
    let huge = format!("{}{set}", " ".repeat(10 << 20));
    let token = idp.sign("1", &claims(&json!({})));
    for (status, head, body, private) in [
        ("302 Found", elsewhere.as_str(), "", true),
        ("200 OK", "", huge.as_str(), true),
        ("200 OK", "", "<html>", true),
        ("200 OK", "", set.as_str(), false),
    ] {
        source.put_document("/jwks", status, head, body.as_bytes(), Duration::ZERO);
        let section = section.replace("allow_private: true", &format!("allow_private: {private}"));
        let text = text(&echo, &section);
        let gateway = Gateway::start_with(&text, &[("SSL_CERT_FILE", &source.trusted)]);
        gateway.cli_json(&["app", "create", "acme"]);
        eventually("the log says so", || {
            gateway
                .log()
                .contains("public keys cannot be fetched")
                .then_some(())
        });
        let refused = gateway.stranger().get_by("/theirs", &token);
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.reason(), "issuer_keys");
    }
    assert_eq!(source.asked("/other"), 0, "redirects are not followed");
}

#[test]
fn the_issuer_alone_names_its_keys_by_its_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::start(dir.path());
    let idp = Idp::new();
    let url = format!("{}/auth/v1", source.url());
    source.put("/keys", &idp.jwks("1"));
    let metadata = |issuer: &str| {
        let uri = format!("{}/keys", source.url());
        json!({"issuer": issuer, "jwks_uri": uri, "response_types_supported": []}).to_string()
    };
    let echo = Echo::start();
    let section = format!(
        "{{ issuer: \"{url}\", audiences: [acme], subject: user_id, allow_private: true,
            app: {{ claim: azp, map: {{ client-a: acme, client-b: globex }} }} }}"
    );
    let token = |azp: &str| {
        let changes = json!({"iss": url, "sub": null, "user_id": "bob", "azp": azp});
        idp.sign("1", &claims(&changes))
    };
    let variables = [("SSL_CERT_FILE", source.trusted.as_path())];
    for place in [
        "/auth/v1/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/auth/v1",
    ] {
        source.put(place, &metadata(&url));
        let gateway = Gateway::start_with(&text(&echo, &section), &variables);
        gateway.cli_json(&["app", "create", "acme"]);
        gateway.cli_json(&["app", "create", "globex"]);
        let partner = gateway.stranger();
        let answer = eventually("the keys are found", || {
            Some(partner.get_by("/theirs", &token("client-b"))).filter(|it| it.status == 200)
        });
        assert_eq!(seen(&answer, "x-countersign-app-name"), ["globex"]);
        let answer = partner.get_by("/theirs", &token("client-a"));
        assert_eq!(seen(&answer, "x-countersign-app-name"), ["acme"]);
        assert_eq!(partner.get_by("/theirs", &token("client-c")).status, 401);
        source.remove(place);
    }
    source.put(
        "/auth/v1/.well-known/openid-configuration",
        &metadata("https://evil.test"),
    );
    let gateway = Gateway::start_with(&text(&echo, &section), &variables);
    eventually("the log says so", || {
        gateway
            .log()
            .contains("those of another issuer")
            .then_some(())
    });
}

#[test]
fn a_secret_a_file_and_a_reload() {
    let echo = Echo::start();
    let idp = Idp::new();
    let secret = "0123456789abcdef0123456789abcdef";
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("idp.secret"), secret).unwrap();
    std::fs::write(dir.path().join("idp.jwks"), idp.jwks("1")).unwrap();
    let by_secret_section = issuer("keys: { secret: \"${file:idp.secret}\" }");
    let gateway = Gateway::start_in(dir, &text(&echo, &by_secret_section));
    gateway.cli_json(&["app", "create", "acme"]);
    let partner = gateway.stranger();
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let shared = by_secret(secret.as_bytes(), header, &claims(&json!({})).to_string());
    let signed = idp.sign("1", &claims(&json!({})));
    let guessed = by_secret(b"password", header, &claims(&json!({})).to_string());
    let check = |shared_counts: u16, signed_counts: u16| {
        assert_eq!(partner.get_by("/theirs", &shared).status, shared_counts);
        assert_eq!(partner.get_by("/theirs", &signed).status, signed_counts);
        assert_eq!(partner.get_by("/theirs", &guessed).status, 401);
    };
    check(200, 401);
    let by_file = text(&echo, &issuer("keys: { jwks: { file: idp.jwks } }"));
    gateway.configure(&by_file);
    let reloaded = gateway.cli_json(&["reload"]);
    assert_eq!(reloaded["restart_needed"], json!([]), "{reloaded}");
    check(401, 200);
    // Another set in the same file counts from the next reload on.
    std::fs::write(gateway.dir().join("idp.jwks"), Idp::new().jwks("1")).unwrap();
    gateway.cli_json(&["reload"]);
    check(401, 401);
    std::fs::write(gateway.dir().join("idp.jwks"), "{}").unwrap();
    let refused = gateway.cli(&["reload"]);
    assert_ne!(refused.code, 0);
    assert!(
        refused.stderr.contains("issuers.idp.keys.jwks"),
        "{refused:?}"
    );
    let none = text(&echo, &by_secret_section);
    let none = none.replace("[\"issuer:idp\"]", "[app_token]");
    let none = none.replace("[\"issuer:idp\", app_token]", "[app_token]");
    let start = none.find("issuers: ").unwrap();
    let end = none.find("upstreams:").unwrap();
    gateway.configure(&format!("{}{}", &none[..start], &none[end..]));
    gateway.cli_json(&["reload"]);
    check(401, 401);
}

#[test]
fn a_configuration_that_would_let_others_in_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("short"), "password").unwrap();
    std::fs::write(dir.path().join("long"), "x".repeat(32)).unwrap();
    let echo = Echo::start();
    let of = |more: &str| {
        format!("{{ issuer: \"https://idp.test\", audiences: [acme], app: acme, {more} }}")
    };
    for (section, says) in [
        (
            of("keys: { secret: \"${file:short}\" }"),
            "32 or more bytes",
        ),
        (
            of("keys: { secret: \"${file:long}\" }, algorithms: [HS256, RS256]"),
            "HS256 alone",
        ),
        (of("algorithms: [HS256]"), "HS256 needs a secret"),
        (of("algorithms: [none]"), "algorithms are"),
        (
            of("keys: { secret: \"${file:long}\", jwks_url: \"https://a.test\" }"),
            "has one of",
        ),
        (of("keys: { jwks_url: \"http://a.test\" }"), "https URL"),
        (of("claims: { role: Authorization }"), "meaning of its own"),
        (of("claims: { role: Connection }"), "meaning of its own"),
        (
            of("claims: { role: X-Countersign-App-Id }"),
            "meaning of its own",
        ),
        (of("claims: { role: X-Consumer-Id }"), "something else"),
        (
            of("claims: { role: X_User }"),
            "letters, digits and hyphens",
        ),
        (
            of("claims: { a: X-User, b: X-User }"),
            "has this field already",
        ),
        (of("app: {}").replace("app: acme, ", ""), "app"),
    ] {
        let path = dir.path().join("countersign.yaml");
        std::fs::write(&path, text(&echo, &section)).unwrap();
        let args = ["config", "check", path.to_str().unwrap()];
        let checked = crate::support::process::countersign(dir.path(), &args);
        assert_ne!(checked.code, 0, "{section}");
        let told = format!("{}{}", checked.stdout, checked.stderr);
        assert!(told.contains(says), "{section}: {told}");
    }
}
