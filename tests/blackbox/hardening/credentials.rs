//! Tokens, keys and certificates that almost count.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::Siege;
use crate::support::client::Answer;
use crate::support::pki;
use crate::support::process::run;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// An App's key, and an honest token of it in its three parts.
struct Holder {
    siege: Siege,
    id: String,
    secret: String,
    token: String,
}

impl Holder {
    fn new() -> Self {
        let siege = Siege::new();
        siege.gateway.cli_json(&["app", "create", "acme"]);
        let (id, secret) = siege.gateway.key("acme", &["orders:read"]);
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let minted = siege
            .stranger
            .post("/oauth2/token", &[FORM], form.as_bytes());
        let token = minted.json()["access_token"].as_str().unwrap().to_owned();
        Self {
            siege,
            id,
            secret,
            token,
        }
    }

    fn call(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.siege
            .stranger
            .get_with("/token", &[("Authorization", &bearer)])
    }

    fn part(&self, place: usize) -> Value {
        let part = self.token.split('.').nth(place).unwrap();
        serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
    }

    /// The gateway's own key, as somebody would have who had stolen it: what is refused then is refused for its form.
    fn stolen(&self) -> EcdsaKeyPair {
        let key = PrivateKeyDer::from_pem_file(self.siege.gateway.dir().join("token.key")).unwrap();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der()).unwrap()
    }

    #[track_caller]
    fn refused(&self, what: &str, token: &str) {
        let answer = self.call(token);
        let reason = answer.reason();
        assert_eq!(answer.status, 401, "{what}");
        assert!(
            reason == "credential_invalid" || reason == "token_expired",
            "{what}: {reason}"
        );
        self.siege.honest(what);
        assert_eq!(
            self.call(&self.token).status,
            200,
            "the honest token after {what}"
        );
    }
}

fn encode(text: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(text.as_ref())
}

fn signed(key: &EcdsaKeyPair, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", encode(signature))
}

#[test]
fn a_token_brings_no_key_of_its_own() {
    let holder = Holder::new();
    let own = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = own.public_key().as_ref();
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) });
    let (header, claims) = (holder.part(0), holder.part(1).to_string());
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        header.to_string()
    };
    for header in [
        header.to_string(),
        with("jwk", jwk),
        with("jku", json!("http://127.0.0.1:1/jwks.json")),
        with("x5u", json!("http://127.0.0.1:1/cert.pem")),
        with("x5c", json!(["MIIB"])),
        with("kid", json!("../../../../dev/null")),
        with("kid", json!("' OR 1=1 --")),
        with("kid", json!("")),
        with("kid", json!(null)),
        with("alg", json!("none")),
        with("alg", json!("None")),
        with("alg", json!("HS256")),
        with("alg", json!("RS256")),
        with("alg", json!("PBES2-HS256+A128KW")),
    ] {
        holder.refused(&header, &signed(&own, &header, &claims));
    }
    let head = encode(header.to_string());
    for (what, signature) in [
        ("no signature", Vec::new()),
        ("zeros", vec![0; 64]),
        ("half", vec![1; 32]),
        ("a signature in DER", vec![0x30, 6, 2, 1, 0, 2, 1, 0]),
        ("too much", vec![1; 4000]),
    ] {
        let token = format!("{head}.{}.{}", encode(&claims), encode(signature));
        holder.refused(what, &token);
    }
}

#[test]
fn a_token_has_one_form_even_with_the_right_signature() {
    let holder = Holder::new();
    let key = holder.stolen();
    let (header, claims) = (holder.part(0), holder.part(1));
    let again = signed(&key, &header.to_string(), &claims.to_string());
    assert_eq!(holder.call(&again).status, 200, "the test itself can sign");
    let with = |object: &Value, name: &str, value: Value| {
        let mut object = object.clone();
        object[name] = value;
        object.to_string()
    };
    for header in [
        with(&header, "crit", json!(["b64"])),
        with(&header, "b64", json!(false)),
        with(&header, "zip", json!("DEF")),
        with(&header, "cty", json!("JWT")),
        with(&header, "typ", json!("JWT")),
        with(&header, "alg", json!("es256")),
        with(&header, "jwk", json!({})),
        header.to_string().replacen('{', "{\"alg\":\"ES256\",", 1),
        "{}".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        String::new(),
    ] {
        holder.refused(&header, &signed(&key, &header, &claims.to_string()));
    }
    for claims in [
        with(&claims, "exp", json!(1)),
        with(&claims, "exp", json!(4e9)),
        with(&claims, "exp", json!("4000000000")),
        with(&claims, "exp", json!(-1)),
        with(&claims, "iat", json!(4_000_000_000_u64)),
        with(&claims, "aud", json!("https://elsewhere.test")),
        with(&claims, "aud", json!([claims["aud"]])),
        with(&claims, "iss", json!("https://elsewhere.test")),
        with(&claims, "sub", json!("key_00000000000000000000000007")),
        with(
            &claims,
            "client_id",
            json!("key_00000000000000000000000007"),
        ),
        with(&claims, "scope", json!("orders:read\u{0}admin")),
        with(&claims, "cnf", json!({})),
        with(&claims, "cnf", json!({ "x5t#S256": "AAAA" })),
        with(&claims, "cnf", json!({ "jkt": "AAAA" })),
        with(&claims, "admin", json!(true)),
        claims.to_string().replacen('{', "{\"exp\":4000000000,", 1),
        format!("{claims}x"),
        format!("{}1{}", "[".repeat(2000), "]".repeat(2000)),
    ] {
        holder.refused(&claims, &signed(&key, &header.to_string(), &claims));
    }
}

/// One token, and the spellings of its base64 that some decoders take for the same.
#[test]
fn a_token_has_one_spelling() {
    let holder = Holder::new();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = *holder.token.as_bytes().last().unwrap();
    let place = alphabet.iter().position(|letter| *letter == last).unwrap();
    let unused = format!(
        "{}{}",
        &holder.token[..holder.token.len() - 1],
        char::from(alphabet[place ^ 1])
    );
    let (front, signature) = holder.token.rsplit_once('.').unwrap();
    for token in [
        unused,
        format!("{}==", holder.token),
        format!("{front}..{signature}"),
        format!(".{}", holder.token),
        format!("{}.x", holder.token),
        holder.token.replace('.', ". "),
        format!("{front}.%{signature}"),
        format!("{}\u{e9}", holder.token),
        holder.token.replace('.', ","),
        json!({ "payload": front, "signature": signature }).to_string(),
    ] {
        holder.refused(&token, &token);
    }
}

#[test]
fn a_request_shows_one_credential_or_none() {
    let holder = Holder::new();
    let good = format!("Bearer {}", holder.secret);
    let (_, other) = holder.siege.gateway.key("acme", &[]);
    let other = format!("Bearer {other}");
    let token = format!("Bearer {}", holder.token);
    for fields in [
        &[("Authorization", &*good), ("Authorization", &*good)][..],
        &[("Authorization", &good), ("Authorization", &other)],
        &[
            ("Authorization", &good),
            ("authorization", "Bearer nonsense"),
        ],
        &[("Authorization", &good), ("X-Api-Key", "nonsense")],
        &[("Authorization", &token), ("X-Api-Key", &holder.secret)],
    ] {
        let answer = holder.siege.stranger.get_with("/key", fields);
        assert_eq!(answer.status, 401, "{fields:?}");
        holder.siege.honest("two credentials");
    }
    assert_eq!(
        holder
            .siege
            .stranger
            .get_with("/key", &[("Authorization", &good)])
            .status,
        200
    );
}

#[test]
fn keys_that_are_malformed_are_refused_and_not_repeated() {
    let holder = Holder::new();
    let good = &holder.secret;
    let swapped = good.replace("sk_live_", "sk_test_");
    let longer = format!("{good}0");
    let shorter = &good[..good.len() - 1];
    let mut lower = good.to_ascii_lowercase();
    if lower == *good {
        lower.push('x');
    }
    let long = format!("sk_live_{}", "x".repeat(20_000));
    for key in [
        &*swapped,
        &longer,
        shorter,
        &lower,
        &long,
        "sk_live_",
        "sk_live_' OR '1'='1",
        "sk_live_../../../../etc/passwd",
        "sk_live_%00",
        "sk_live_\u{e9}\u{e9}\u{e9}",
        "",
        &holder.id,
    ] {
        let bearer = format!("Bearer {key}");
        for fields in [("Authorization", &*bearer), ("X-Api-Key", key)] {
            let answer = holder.siege.stranger.get_with("/key", &[fields]);
            assert_eq!(answer.status, 401, "{key}");
            assert!(key.len() < 10 || !answer.text().contains(key), "{key}");
        }
        holder.siege.honest("a malformed key");
    }
    let bearer = format!("Bearer {good}");
    assert_eq!(
        holder
            .siege
            .stranger
            .get_with("/key", &[("Authorization", &bearer)])
            .status,
        200
    );
    let written = format!(
        "{}{:?}",
        holder.siege.gateway.log(),
        holder.siege.gateway.access_log()
    );
    assert!(!written.contains(good.as_str()) && !written.contains(&swapped));
}

#[test]
fn the_token_endpoint_takes_one_form_only() {
    let holder = Holder::new();
    let whole = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        holder.id, holder.secret
    );
    let ask = |fields: &[(&str, &str)], body: &str| {
        holder
            .siege
            .stranger
            .post("/oauth2/token", fields, body.as_bytes())
    };
    assert_eq!(ask(&[FORM], &whole).status, 200);
    let many = "a=b&".repeat(5000);
    for (fields, body) in [
        (
            &[FORM][..],
            &*format!("{whole}&scope=orders:read&scope=orders:write"),
        ),
        (&[FORM], &format!("{whole}&client_id={}", holder.id)),
        (&[FORM], &format!("{whole}%00")),
        (&[FORM], &whole.replace("client_secret=", "client_secret=%")),
        (&[FORM], &many),
        (
            &[FORM, ("Authorization", "Basic !!!")],
            "grant_type=client_credentials",
        ),
        (
            &[FORM, ("Authorization", "Basic ")],
            "grant_type=client_credentials",
        ),
        (
            &[FORM, ("Authorization", "Basic eA==")],
            "grant_type=client_credentials",
        ),
        (
            &[
                FORM,
                ("Authorization", "Basic eA"),
                ("Authorization", "Basic eA"),
            ],
            "grant_type=client_credentials",
        ),
        (
            &[("Content-Type", "application/json")],
            "{\"grant_type\":\"client_credentials\"}",
        ),
        (
            &[("Content-Type", "multipart/form-data; boundary=x")],
            "--x\r\n\r\n--x--",
        ),
        (&[FORM, ("Content-Encoding", "gzip")], "\u{1f}"),
        (&[], &whole),
    ] {
        let answer = ask(fields, body);
        assert!((400..500).contains(&answer.status), "{fields:?} {answer:?}");
        assert!(!answer.text().contains("access_token"), "{answer:?}");
        holder.siege.honest("a strange form");
    }
}

/// Only what was entered in the registry counts, whatever else is wrong with a certificate that our authority signed.
#[test]
fn certificates_that_are_odd_are_no_identity() {
    let siege = Siege::new();
    let dir = siege.gateway.dir();
    let acme = siege.gateway.enrol("acme");
    let usage = "extendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\n";
    let ec = &["-newkey", "ec", "-pkeyopt"][..];
    for (name, key, serial, digest, extensions) in [
        (
            "serial-zero",
            "ec_paramgen_curve:P-256",
            "0",
            "-sha256",
            usage.to_owned(),
        ),
        (
            "serial-long",
            "ec_paramgen_curve:P-256",
            "0x0102030405060708090a0b0c0d0e0f101112131415161718",
            "-sha256",
            usage.to_owned(),
        ),
        (
            "serial-same",
            "ec_paramgen_curve:P-256",
            &*format!("0x{}", acme.serial),
            "-sha256",
            usage.to_owned(),
        ),
        (
            "sha1",
            "ec_paramgen_curve:P-256",
            "11",
            "-sha1",
            usage.to_owned(),
        ),
        (
            "any-usage",
            "ec_paramgen_curve:P-256",
            "12",
            "-sha256",
            "extendedKeyUsage=anyExtendedKeyUsage\nkeyUsage=digitalSignature".to_owned(),
        ),
        (
            "names-in-leaf",
            "ec_paramgen_curve:P-256",
            "13",
            "-sha256",
            format!("{usage}nameConstraints=permitted;DNS:example.test"),
        ),
        (
            "unknown-critical",
            "ec_paramgen_curve:P-256",
            "14",
            "-sha256",
            format!("{usage}1.2.3.4=critical,DER:0500"),
        ),
        (
            "p192",
            "ec_paramgen_curve:prime192v1",
            "15",
            "-sha256",
            usage.to_owned(),
        ),
        (
            "p224",
            "ec_paramgen_curve:secp224r1",
            "16",
            "-sha256",
            usage.to_owned(),
        ),
        (
            "k256",
            "ec_paramgen_curve:secp256k1",
            "17",
            "-sha256",
            usage.to_owned(),
        ),
        ("rsa1024", "rsa", "18", "-sha256", usage.to_owned()),
    ] {
        let args = match key {
            "rsa" => vec!["-newkey", "rsa:1024"],
            key => [ec, &[key]].concat(),
        };
        let made = pki::request_with(dir, name, &args);
        std::fs::write(dir.join("ext"), extensions).unwrap();
        let out = format!("{name}.pem");
        let signing = [
            "x509",
            "-req",
            "-in",
            made.csr.to_str().unwrap(),
            "-CA",
            "authority/issuing.pem",
            "-CAkey",
            "authority/issuing.key",
            "-set_serial",
            serial,
            "-days",
            "5",
            digest,
            "-extfile",
            "ext",
            "-out",
            &out,
        ];
        run(dir, "openssl", &signing).ok();
        let at = siege.gateway.partners().to_string();
        // OpenSSL shows what our own client would refuse to.
        let ca = siege.gateway.ca();
        let shown = std::process::Command::new("curl")
            .args([
                "-s",
                "--ciphers",
                "DEFAULT@SECLEVEL=0",
                "--max-time",
                "5",
                "--cacert",
                ca.to_str().unwrap(),
            ])
            .args([
                "--connect-to",
                &format!("::{at}"),
                "--cert",
                &out,
                "--key",
                made.key.to_str().unwrap(),
            ])
            .args(["-w", "\n%{http_code}", "https://api.example.test/protected"])
            .current_dir(dir)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        let status = text.rsplit('\n').next().unwrap_or_default().to_owned();
        assert!(["000", "401", "403"].contains(&&*status), "{name}: {text}");
        siege.honest(name);
        assert_eq!(acme.partner.get("/protected").status, 200, "after {name}");
    }
}
