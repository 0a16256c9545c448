//! Signed requests: no secret goes over the wire, nothing can be changed on the way, and each counts once.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Answer, Partner};
use crate::support::gateway::{Circumstances, Gateway, HOST, config_with};
use crate::support::pki::{self, Stranger};
use crate::support::signing::{Signer, Unsigned, borrowed};
use crate::support::upstream::{Echo, Secured};

const SEALING_KEY: &str = "0123456789abcdef0123456789abcdef";

const ROUTES: &str = "      - { match: { prefix: /v1 }, require: key, accept: [signature], upstream: api }
      - { match: { prefix: /scoped }, require: key, accept: [signature], scopes: [orders:write], upstream: api }
      - { match: { prefix: /both }, require: key, accept: [secret_key, signature], upstream: api }
      - { match: { prefix: /secret }, require: key, upstream: api }
";

const MORE: &str = "keys: { sealing_key: \"${file:sealing}\" }
signatures: { body_max: 64KiB }
";

fn text(echo: &Echo) -> String {
    config_with(&echo.url(), ROUTES, MORE)
}

fn place() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sealing"), SEALING_KEY).unwrap();
    dir
}

type Fields = Vec<(String, String)>;

struct Scene {
    echo: Echo,
    gateway: Gateway,
    /// A signing key: its id, and what signs by it.
    id: String,
    signer: Signer,
}

fn scene() -> Scene {
    let echo = Echo::start();
    let gateway = Gateway::start_in(place(), &text(&echo));
    gateway.cli_json(&["app", "create", "acme"]);
    let (id, secret) = signing_key(&gateway);
    Scene {
        echo,
        gateway,
        id,
        signer: Signer::Text(secret),
    }
}

fn signing_key(gateway: &Gateway) -> (String, String) {
    let args = [
        "key",
        "create",
        "--app",
        "acme",
        "--kind",
        "signing",
        "--scope",
        "orders:write",
    ];
    let made = gateway.cli_json(&args);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&made["key"]["id"]), text(&made["secret"]))
}

impl Scene {
    fn partner(&self) -> Partner {
        self.gateway.stranger()
    }

    fn signed(&self, request: &Unsigned) -> Vec<(String, String)> {
        request.sign(&self.signer, &self.id)
    }

    fn send(&self, request: &Unsigned, fields: &[(String, String)]) -> Answer {
        let mut connection = self.partner().connect();
        let fields = borrowed(fields);
        connection.request(request.method, &request.target, &fields, &request.body)
    }

    fn call(&self, request: &Unsigned) -> Answer {
        self.send(request, &self.signed(request))
    }

    /// The recorded reason of a refusal.
    fn recorded(&self, answer: &Answer) -> String {
        let record = self
            .gateway
            .record_of(answer.header("x-request-id").unwrap());
        record["reason"].as_str().unwrap().to_owned()
    }
}

fn seen(answer: &Answer) -> (u16, String) {
    (answer.status, answer.reason())
}

fn refused(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

#[test]
fn pk_11_a_request_that_is_signed_by_hmac_is_served_and_shows_no_secret() {
    let scene = scene();
    let Signer::Text(secret) = &scene.signer else {
        panic!("signs with a text")
    };
    assert!(secret.starts_with("sg_live_"));
    let request = Unsigned::post("/scoped/orders?dry=1", b"{\"hello\": \"world\"}");
    let answer = scene.call(&request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["body"], "{\"hello\": \"world\"}");
    assert_eq!(told["target"], "/scoped/orders?dry=1");
    let headers = told["headers"].as_array().unwrap();
    let has = |name: &str, value: &str| headers.contains(&json!([name, value]));
    assert!(has("x-countersign-auth-method", "key"), "{headers:?}");
    assert!(has("content-length", "18"), "{headers:?}");
    let record = scene
        .gateway
        .record_of(answer.header("x-request-id").unwrap());
    assert_eq!(record["key"], *scene.id);
    assert_eq!(
        record["hint"],
        format!("sg_live_…{}", &secret[secret.len() - 4..])
    );
    for request in [
        Unsigned::get("/v1/a"),
        Unsigned {
            components: vec!["@method", "@authority", "@path", "@query"],
            ..Unsigned::get("/v1/a?b=%20c")
        },
        Unsigned {
            components: vec!["@method", "@authority", "@path"],
            params: ";alg=\"hmac-sha256\"".to_owned(),
            ..Unsigned::get("/v1/b")
        },
        Unsigned::post("/both", b"body"),
    ] {
        assert_eq!(scene.call(&request).status, 200, "{}", request.target);
    }
    let scene_files = ["access.log", "store.db", "store.db-wal"];
    for file in scene_files.map(|file| scene.gateway.dir().join(file)) {
        let held = std::fs::read(&file).unwrap_or_default();
        let found = held
            .windows(40)
            .any(|part| part == &secret.as_bytes()[secret.len() - 40..]);
        assert!(!found, "{}", file.display());
    }
    assert!(!scene.gateway.log().contains(&secret[20..]));
    let shown = scene.gateway.cli_json(&["key", "get", &scene.id]);
    assert_eq!(shown["kind"], "signing");
    assert!(shown["last_used_at"].is_string(), "{shown}");
}

#[test]
fn pk_11_nothing_of_a_signed_request_can_be_changed() {
    let scene = scene();
    let with = |change: &dyn Fn(&mut Unsigned, &mut Fields)| {
        let mut sent = Unsigned::post("/v1/orders?amount=1", b"{\"amount\": 1}");
        let mut fields = scene.signed(&sent);
        change(&mut sent, &mut fields);
        scene.send(&sent, &fields)
    };
    assert_eq!(with(&|_, _| {}).status, 200);
    let reached = scene.echo.requests();
    let invalid = |answer: &Answer| {
        assert_eq!(seen(answer), refused(401, "credential_invalid"));
        assert_eq!(scene.recorded(answer), "signature_invalid");
    };
    invalid(&with(&|sent, _| sent.method = "PUT"));
    invalid(&with(&|sent, _| {
        sent.target = "/v1/orders?amount=2".to_owned();
    }));
    invalid(&with(&|sent, _| {
        sent.target = "/both/orders?amount=1".to_owned();
    }));
    invalid(&with(&|_, fields| {
        fields[0].1 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:".to_owned();
    }));
    invalid(&with(&|_, fields| {
        fields[1].1 = fields[1].1.replace("nonce=\"", "nonce=\"x");
    }));
    invalid(&with(&|_, fields| {
        fields[2].1 = "sig=:AAAA:".to_owned();
    }));
    let body = with(&|sent, _| sent.body[5] ^= 1);
    assert_eq!(seen(&body), refused(401, "content_digest_mismatch"));
    assert!(
        body.header("www-authenticate")
            .unwrap()
            .starts_with("Signature ")
    );
    let cut = with(&|sent, _| {
        sent.body.pop();
    });
    assert_eq!(seen(&cut), refused(401, "content_digest_mismatch"));
    assert_eq!(scene.echo.requests(), reached, "nothing reached the API");
    assert_eq!(with(&|_, _| {}).status, 200);
}

#[test]
fn pk_11_a_signature_counts_once_and_for_a_minute() {
    let scene = scene();
    let request = Unsigned::post("/v1/pay", b"1");
    let fields = scene.signed(&request);
    assert_eq!(scene.send(&request, &fields).status, 200);
    for _ in 0..4 {
        // Each on a connection of its own, so that it may come to another worker.
        let answer = scene.send(&request, &fields);
        assert_eq!(seen(&answer), refused(401, "signature_replayed"));
    }
    let same_nonce = Unsigned {
        target: "/v1/other".to_owned(),
        ..request
    };
    assert_eq!(
        seen(&scene.call(&same_nonce)),
        refused(401, "signature_replayed")
    );
    let plain = Unsigned {
        params: String::new(),
        ..Unsigned::get("/v1/plain")
    };
    let fields = scene.signed(&plain);
    assert_eq!(scene.send(&plain, &fields).status, 200);
    assert_eq!(
        seen(&scene.send(&plain, &fields)),
        refused(401, "signature_replayed")
    );
    for (ahead, params, expected) in [
        (-50, "", 200),
        (50, "", 200),
        (-70, "", 401),
        (70, "", 401),
        (0, ";expires=1", 401),
    ] {
        let request = Unsigned {
            ahead,
            params: params.to_owned(),
            ..Unsigned::get("/v1/clock")
        };
        let answer = scene.call(&request);
        assert_eq!(answer.status, expected, "{ahead} {params}");
        if expected == 401 {
            assert_eq!(answer.reason(), "signature_too_old");
        }
    }
    assert_eq!(scene.echo.requests(), 4);
}

#[test]
fn pk_11_what_is_not_signed_enough_is_told_why() {
    let scene = scene();
    let missing = scene.partner().get("/v1");
    assert_eq!(seen(&missing), refused(401, "signature_missing"));
    let challenge = missing.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Signature "), "{challenge}");
    for components in [
        vec!["@method"],
        vec!["@target-uri"],
        vec!["@method", "@path", "@query"],
        vec!["@method", "@authority", "@path"],
    ] {
        let request = Unsigned {
            components,
            ..Unsigned::get("/v1/a?b=c")
        };
        let answer = scene.call(&request);
        assert_eq!(seen(&answer), refused(401, "signature_components_missing"));
    }
    // A body without a digest that is signed.
    let request = Unsigned::get("/v1/a");
    let fields = scene.signed(&request);
    let answer = scene.partner().post("/v1/a", &borrowed(&fields), b"body");
    assert_eq!(seen(&answer), refused(401, "signature_components_missing"));
    for params in [";alg=\"rsa-v1_5-sha256\"", ";expires=soon", ";nonce=1"] {
        let request = Unsigned {
            params: params.to_owned(),
            ..Unsigned::get("/v1/a")
        };
        let answer = scene.call(&request);
        assert_eq!(
            seen(&answer),
            refused(401, "signature_malformed"),
            "{params}"
        );
    }
    let garbled = scene
        .partner()
        .get_with("/v1", &[("Signature-Input", "sig=(")]);
    assert_eq!(seen(&garbled), refused(401, "signature_malformed"));
    let foreign = "sig=(\"@method\");created=1;keyid=\"somebody\"";
    let foreign = [("Signature-Input", foreign), ("Signature", "sig=:AAAA:")];
    let answer = scene.partner().get_with("/v1", &foreign);
    assert_eq!(seen(&answer), refused(401, "signature_missing"));
    // Where a key is accepted as well, a signature by others does not stand in its way.
    let (_, secret) = scene.gateway.key("acme", &[]);
    let bearer = format!("Bearer {secret}");
    let fields = [foreign[0], foreign[1], ("Authorization", &*bearer)];
    assert_eq!(scene.partner().get_with("/both", &fields).status, 200);
    assert_eq!(
        seen(&scene.partner().get("/both")),
        refused(401, "credential_missing")
    );
}

#[test]
fn pk_11_a_request_is_signed_with_a_public_key_of_the_app() {
    let scene = scene();
    let (p256, ed25519) = (Signer::p256(), Signer::ed25519());
    let jwks = json!({"keys": [p256.jwk("a"), ed25519.jwk("b")]});
    let file = scene.gateway.dir().join("jwks.json");
    std::fs::write(&file, jwks.to_string()).unwrap();
    let setting = format!("jwks={}", file.display());
    scene.gateway.cli_json(&["app", "set", "acme", &setting]);
    let (secret_key, _) = scene.gateway.key("acme", &["orders:write"]);
    let post = || Unsigned::post("/scoped", b"body");
    for (signer, keyid) in [
        (&p256, format!("{secret_key}/a")),
        (&ed25519, format!("{secret_key}/b")),
        (&ed25519, format!("{}/b", scene.id)),
        // The App has one key of each kind.
        (&p256, secret_key.clone()),
        (&ed25519, secret_key.clone()),
    ] {
        let request = post();
        let answer = scene.send(&request, &request.sign(signer, &keyid));
        assert_eq!(answer.status, 200, "{keyid}: {}", answer.text());
    }
    for (signer, keyid, params) in [
        (&p256, format!("{secret_key}/b"), ""),
        (&ed25519, format!("{secret_key}/a"), ""),
        (&ed25519, format!("{secret_key}/c"), ""),
        (
            &ed25519,
            format!("{secret_key}/b"),
            ";alg=\"ecdsa-p256-sha256\"",
        ),
        (&ed25519, format!("{secret_key}/b"), ";alg=\"hmac-sha256\""),
        (&p256, scene.id.clone(), ""),
        // The public key is no secret of an HMAC.
        (
            &Signer::Text(jwks.to_string()),
            format!("{secret_key}/b"),
            "",
        ),
        (&scene.signer, secret_key, ""),
    ] {
        let request = Unsigned {
            params: params.to_owned(),
            ..post()
        };
        let answer = scene.send(&request, &request.sign(signer, &keyid));
        assert_eq!(seen(&answer), refused(401, "credential_invalid"), "{keyid}");
        assert_eq!(scene.recorded(&answer), "signature_invalid");
    }
    let publishable = ["key", "create", "--app", "acme", "--kind", "publishable"];
    let publishable = scene.gateway.cli_json(&publishable);
    let keyid = format!("{}/b", publishable["key"]["id"].as_str().unwrap());
    let request = Unsigned::get("/v1");
    let answer = scene.send(&request, &request.sign(&ed25519, &keyid));
    assert_eq!(seen(&answer), refused(403, "kind_not_accepted"));
}

#[test]
fn pk_11_a_public_key_is_found_where_the_app_publishes_it() {
    let dir = place();
    let authority = Stranger::new(dir.path(), "their-ca", "/CN=their authority");
    let request = pki::request(dir.path(), "their-server");
    let names = "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE";
    let leaf = authority.sign(&request, names);
    let folder = tempfile::tempdir().unwrap();
    let site = Secured::serving(folder.path(), &leaf, &request.key);
    let (first, second) = (Signer::ed25519(), Signer::p256());
    let publish = |keys: Value| {
        std::fs::write(
            folder.path().join("jwks.json"),
            json!({"keys": keys}).to_string(),
        )
        .unwrap();
    };
    publish(json!([first.jwk("1")]));
    let echo = Echo::start();
    let text = text(&echo).replacen("tokens: {", "tokens: { jwks_allow_private: true,", 1);
    let trusted = authority.certificate();
    let variables: &[(&str, &Path)] = &[("SSL_CERT_FILE", &trusted)];
    let how = Circumstances {
        variables,
        ..Circumstances::default()
    };
    let gateway = Gateway::start_by(dir, &text, how);
    gateway.cli_json(&["app", "create", "acme"]);
    let setting = format!("jwks_url={}/jwks.json", site.url());
    gateway.cli_json(&["app", "set", "acme", &setting]);
    let (id, _) = gateway.key("acme", &[]);
    let call = |signer: &Signer, kid: &str| {
        let request = Unsigned::get("/v1");
        let fields = request.sign(signer, &format!("{id}/{kid}"));
        gateway.stranger().get_with("/v1", &borrowed(&fields))
    };
    assert_eq!(call(&first, "1").status, 200);
    publish(json!([first.jwk("1"), second.jwk("2")]));
    // It is fetched in the background, at most once a minute.
    assert_eq!(
        seen(&call(&second, "2")),
        refused(401, "credential_invalid")
    );
    drop(site);
    assert_eq!(call(&first, "1").status, 200);
}

/// The other form of a P-256 signature, which verifies as well: s becomes n − s.
fn other_form(signature: &str) -> String {
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order = data_encoding::HEXLOWER.decode(ORDER.as_bytes()).unwrap();
    let encoded = signature.trim_start_matches("sig=:").trim_end_matches(':');
    let mut octets = data_encoding::BASE64.decode(encoded.as_bytes()).unwrap();
    let mut borrow = 0;
    for place in (0..32).rev() {
        let digit = i16::from(order[place]) - i16::from(octets[32 + place]) - borrow;
        borrow = i16::from(digit < 0);
        octets[32 + place] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    format!("sig=:{}:", data_encoding::BASE64.encode(&octets))
}

#[test]
fn pk_11_another_form_of_a_signature_is_a_replay_too() {
    let scene = scene();
    let p256 = Signer::p256();
    let file = scene.gateway.dir().join("jwks.json");
    std::fs::write(&file, json!({"keys": [p256.jwk("a")]}).to_string()).unwrap();
    let setting = format!("jwks={}", file.display());
    scene.gateway.cli_json(&["app", "set", "acme", &setting]);
    let request = || Unsigned {
        params: String::new(),
        ..Unsigned::get("/v1/ecdsa")
    };
    let keyid = format!("{}/a", scene.id);
    let mut fields = request().sign(&p256, &keyid);
    let place = fields.len() - 1;
    fields[place].1 = other_form(&fields[place].1);
    assert_eq!(scene.send(&request(), &fields).status, 200, "it verifies");
    fields[place].1 = other_form(&fields[place].1);
    let again = scene.send(&request(), &fields);
    assert_eq!(seen(&again), refused(401, "signature_replayed"));
}

#[test]
fn pk_11_only_who_signs_learns_of_an_apps_state() {
    let scene = scene();
    scene.gateway.cli_json(&["app", "suspend", "acme"]);
    let request = Unsigned::get("/v1");
    let stranger = Signer::Text("sg_live_guessed".to_owned());
    let answer = scene.send(&request, &request.sign(&stranger, &scene.id));
    assert_eq!(seen(&answer), refused(401, "credential_invalid"));
    let id = answer.header("x-request-id").unwrap();
    let record = scene.gateway.record_of(id);
    assert_eq!(record["reason"], "signature_invalid");
    let told = record.to_string();
    assert!(told.contains(&scene.id) && !told.contains("acme"), "{told}");
    assert_eq!(seen(&scene.call(&request)), refused(403, "app_suspended"));
}

#[test]
fn pk_11_a_large_body_is_refused_and_a_held_one_is_forwarded_whole() {
    let scene = scene();
    let large = Unsigned::post("/v1", &vec![b'x'; (64 << 10) + 1]);
    let answer = scene.call(&large);
    assert_eq!(seen(&answer), refused(413, "body_too_large"));
    assert_eq!(scene.echo.requests(), 0);
    let fits = Unsigned::post("/v1", &vec![b'x'; 64 << 10]);
    let answer = scene.call(&fits);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["body_bytes"], 64 << 10);
    // Chunked, and of a length that nobody knows before.
    for (size, expected) in [(1000, 200), (65 << 10, 413)] {
        let request = Unsigned::post("/v1", &vec![b'y'; size]);
        let mut connection = scene.partner().connect();
        let mut head =
            format!("POST /v1 HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n");
        for (name, value) in scene.signed(&request) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        connection.send(format!("{head}\r\n").as_bytes());
        for piece in request.body.chunks(500) {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            if connection.try_send(&chunk).is_err() {
                break;
            }
        }
        let _ = connection.try_send(b"0\r\n\r\n");
        let answer = connection.answer();
        assert_eq!(answer.status, expected, "{size}");
    }
}

#[test]
fn pk_11_what_nobody_verifies_or_a_hop_removes_is_refused_beside_a_signature() {
    let scene = scene();
    for (name, value) in [
        ("Authorization", "Bearer foreign"),
        ("Authorization", "DPoP foreign"),
        ("X-Api-Key", "foreign"),
        ("Connection", "keep-alive, Content-Digest"),
    ] {
        let request = Unsigned::post("/both", b"body");
        let mut fields = scene.signed(&request);
        fields.push((name.to_owned(), value.to_owned()));
        let answer = scene.send(&request, &fields);
        assert_eq!(
            seen(&answer),
            refused(401, "signature_malformed"),
            "{value}"
        );
    }
    assert_eq!(scene.echo.requests(), 0);
    let request = Unsigned::get("/both");
    let mut fields = scene.signed(&request);
    fields.push(("Authorization".to_owned(), "Basic dXNlcjpw".to_owned()));
    assert_eq!(scene.send(&request, &fields).status, 200);
}

#[test]
fn pk_11_over_http2_too() {
    let scene = scene();
    let request = Unsigned::post("/v1/h2?a=b", b"over http2");
    let fields = scene.signed(&request);
    let fields = borrowed(&fields);
    let send = |body: &'static [u8]| {
        let requests = vec![(request.target.clone(), Bytes::from_static(body))];
        let post = |builder: http::request::Builder| builder.method("POST");
        scene.partner().over_h2(requests, &fields, post).remove(0)
    };
    assert_eq!(
        seen(&send(b"over http3")),
        refused(401, "content_digest_mismatch")
    );
    let request = Unsigned::post("/v1/h2?a=b", b"over http2");
    let fields = scene.signed(&request);
    let requests = vec![(request.target, Bytes::from_static(b"over http2"))];
    let post = |builder: http::request::Builder| builder.method("POST");
    let answer = scene
        .partner()
        .over_h2(requests, &borrowed(&fields), post)
        .remove(0);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["body"], "over http2");
}

#[test]
fn pk_11_a_signing_key_is_good_for_nothing_else() {
    let scene = scene();
    let Signer::Text(secret) = &scene.signer else {
        panic!("signs with a text")
    };
    for path in ["/v1", "/both", "/secret"] {
        let answer = scene.partner().get_by(path, secret);
        assert_eq!(seen(&answer), refused(403, "kind_not_accepted"), "{path}");
    }
    let exchanged = scene.partner().exchange(&scene.id, secret);
    assert_eq!(exchanged.status, 401);
    assert_eq!(exchanged.json()["error"], "invalid_client");
    let signed = scene.call(&Unsigned::get("/secret"));
    assert_eq!(seen(&signed), refused(401, "credential_missing"));
    for (args, said) in [
        (
            &["--kind", "signing", "--scope", "countersign:vouch"][..],
            "gets no tokens",
        ),
        (
            &["--kind", "signing", "--origin", "https://a.example"],
            "origins are for publishable",
        ),
    ] {
        let refused = scene
            .gateway
            .cli(&[&["key", "create", "--app", "acme"], args].concat());
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    let digest = "0".repeat(64);
    let import = [
        "key", "import", "--app", "acme", "--kind", "signing", "--digest", &digest,
    ];
    let refused = scene.gateway.cli(&import);
    assert!(
        refused.stderr.contains("cannot be imported"),
        "{}",
        refused.stderr
    );
}

#[test]
fn pk_11_a_signing_key_is_rotated_and_revoked_like_any_other() {
    let scene = scene();
    let rotated = scene.gateway.cli_json(&["key", "rotate", &scene.id]);
    let id = rotated["key"]["id"].as_str().unwrap();
    let new = Signer::Text(rotated["secret"].as_str().unwrap().to_owned());
    let call = |signer: &Signer, id: &str| {
        let request = Unsigned::get("/v1");
        scene.send(&request, &request.sign(signer, id))
    };
    assert_eq!(call(&scene.signer, &scene.id).status, 200);
    assert_eq!(call(&new, id).status, 200);
    assert_eq!(
        seen(&call(&new, &scene.id)),
        refused(401, "credential_invalid")
    );
    scene
        .gateway
        .cli_json(&["key", "revoke", &scene.id, "--yes"]);
    let answer = call(&scene.signer, &scene.id);
    assert_eq!(seen(&answer), refused(401, "credential_invalid"));
    assert_eq!(scene.recorded(&answer), "key_revoked");
    assert_eq!(call(&new, id).status, 200);
    let unknown = call(&new, "key_00000000000000000000000001");
    assert_eq!(seen(&unknown), refused(401, "credential_invalid"));
    assert_eq!(scene.recorded(&unknown), "key_unknown");
}

#[test]
fn without_the_right_sealing_key_nothing_starts_and_the_setting_is_named() {
    let echo = Echo::start();
    let with = text(&echo);
    let without = with.replace(MORE, "");
    let gateway = Gateway::start_in(tempfile::tempdir().unwrap(), &without);
    gateway.cli_json(&["app", "create", "acme"]);
    let unmade = gateway.cli(&["key", "create", "--app", "acme", "--kind", "signing"]);
    assert!(
        unmade.stderr.contains("keys.sealing_key"),
        "{}",
        unmade.stderr
    );
    let dir = gateway.kill();

    std::fs::write(dir.path().join("sealing"), SEALING_KEY).unwrap();
    let gateway = Gateway::start_in(dir, &with);
    let (id, secret) = signing_key(&gateway);
    let signer = Signer::Text(secret);
    let call = |gateway: &Gateway| {
        let request = Unsigned::get("/v1");
        let fields = request.sign(&signer, &id);
        seen(&gateway.stranger().get_with("/v1", &borrowed(&fields)))
    };
    assert_eq!(call(&gateway), (200, String::new()));
    // Another key on a reload is refused, and the running one stays.
    std::fs::write(
        gateway.dir().join("sealing"),
        "another key of more than 32 characters",
    )
    .unwrap();
    let reloaded = gateway.cli(&["reload"]);
    assert!(
        reloaded.stderr.contains("keys.sealing_key"),
        "{}",
        reloaded.stderr
    );
    assert_eq!(call(&gateway), (200, String::new()));
    let mut dir = gateway.kill();

    for (text, sealing) in [
        (&with, "another key of more than 32 characters"),
        (&without, SEALING_KEY),
    ] {
        std::fs::write(dir.path().join("sealing"), sealing).unwrap();
        let failed = Gateway::try_start_in(dir, text);
        let (_, log, left) = failed.expect_err("it starts without the sealing key");
        assert!(log.contains("keys.sealing_key"), "{log}");
        dir = left;
    }
    let lost = Circumstances {
        args: &["--without-signing-keys"],
        ..Circumstances::default()
    };
    let gateway = Gateway::start_by(dir, &without, lost);
    let checked = gateway.cli(&["config", "check"]);
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(
        checked.code != 0 && said.contains("keys.sealing_key"),
        "{said}"
    );
    assert_eq!(call(&gateway), refused(401, "credential_invalid"));
    gateway.cli_json(&["key", "revoke", &id, "--yes"]);
    // Nothing is sealed any more that counts.
    Gateway::start_in(gateway.kill(), &without);
}

#[test]
fn settings_of_signatures_are_checked() {
    let echo = Echo::start();
    for (from, to, said) in [
        ("body_max: 64KiB", "body_max: 17MiB", "signatures.body_max"),
        ("body_max: 64KiB", "schemes: []", "rfc9421"),
        ("body_max: 64KiB", "schemes: [cx1]", "rfc9421"),
        ("accept: [signature]", "accept: [signatures]", "signature"),
    ] {
        let text = text(&echo).replacen(from, to, 1);
        let failed = Gateway::try_start_in(place(), &text);
        let (_, log, _) = failed.expect_err(to);
        assert!(log.contains(said), "{to}: {log}");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sealing"), "short").unwrap();
    let (_, log, _) = Gateway::try_start_in(dir, &text(&echo)).expect_err("a short key");
    assert!(log.contains("at least 32 characters"), "{log}");
}
