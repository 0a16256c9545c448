//! Tokens, keys and certificates that almost count.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::{Siege, numbered, request};
use crate::support::client::{Answer, Partner};
use crate::support::eventually::eventually;
use crate::support::gateway::HOST;
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

/// What becomes of somebody who shows a certificate.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The handshake ends, and is counted under this reason.
    Alert(&'static str),
    /// The connection is quarantined, and every answer names this reason.
    Explained(String),
}

/// Signs a request by the key of one of the gateway's own authorities, which is as good a certificate as a thief of
/// that key could make.
fn forge(
    siege: &Siege,
    issuer: &str,
    csr: &Path,
    name: &str,
    options: &[&str],
    ext: &str,
) -> PathBuf {
    let dir = siege.gateway.dir();
    let (file, out) = (format!("{name}.ext"), dir.join(format!("{name}.pem")));
    std::fs::write(dir.join(&file), ext).unwrap();
    let (certificate, key) = (format!("{issuer}.pem"), format!("{issuer}.key"));
    let mut args = vec!["x509", "-req", "-in", csr.to_str().unwrap()];
    args.extend(["-CA", &certificate, "-CAkey", &key, "-days", "5"]);
    args.extend(["-extfile", &file, "-out", out.to_str().unwrap()]);
    args.extend(options);
    run(dir, "openssl", &args).ok();
    out
}

/// Shows a chain; `key` is `None` for one who cannot sign.
#[track_caller]
fn fate(siege: &Siege, chain: &Path, key: Option<&Path>, reasons: &[&'static str]) -> Fate {
    let gateway = &siege.gateway;
    let partner = Partner::showing(gateway.partners(), HOST, &gateway.ca(), chain, key);
    let counts = || -> Vec<u64> {
        let counts = reasons.iter();
        counts
            .map(|reason| gateway.handshakes_refused(reason))
            .collect()
    };
    let before = counts();
    let mut connection = partner.connect();
    let _ = connection.try_send(&request("GET", "/protected", "", ""));
    if let Some(answer) = connection.try_answer() {
        assert_eq!(answer.status, 403, "{answer:?}");
        return Fate::Explained(answer.reason());
    }
    eventually("the refusal is counted", || {
        let after = counts();
        let place = (0..after.len()).find(|place| after[*place] > before[*place])?;
        Some(Fate::Alert(reasons[place]))
    })
}

const REASONS: [&str; 6] = [
    "cert_bad_signature",
    "cert_expired",
    "cert_malformed",
    "cert_untrusted",
    "cert_usage",
    "handshake_failed",
];

const USAGE: &str = "extendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\n";

/// Only what was entered in the registry counts, whatever else is wrong with a certificate that our authority
/// signed. What the chain's check takes, though a strict reader of RFC 5280 would not, ends there: name constraints
/// in a leaf constrain nobody, and key identifiers only help to build chains.
#[test]
fn certificates_that_are_odd_are_no_identity() {
    let siege = Siege::new();
    let dir = siege.gateway.dir();
    let acme = siege.gateway.enrol("acme");
    let explained = || Fate::Explained("cert_unregistered".to_owned());
    let same = format!("0x{}", acme.serial);
    let with = |more: &str| format!("{USAGE}{more}");
    for (name, options, extensions, expected) in [
        ("plain", &[][..], with(""), explained()),
        (
            "serial-zero",
            &["-set_serial", "0"],
            with(""),
            Fate::Alert("cert_malformed"),
        ),
        (
            "serial-long",
            &[
                "-set_serial",
                "0x0102030405060708090a0b0c0d0e0f101112131415161718",
            ],
            with(""),
            Fate::Alert("cert_malformed"),
        ),
        (
            "serial-negative",
            &["-set_serial", "-5"],
            with(""),
            Fate::Alert("cert_malformed"),
        ),
        (
            "serial-same",
            &["-set_serial", &same],
            with(""),
            explained(),
        ),
        ("sha1", &["-sha1"], with(""), Fate::Alert("cert_usage")),
        (
            "any-usage",
            &[],
            "extendedKeyUsage=anyExtendedKeyUsage\nkeyUsage=digitalSignature".to_owned(),
            Fate::Alert("cert_usage"),
        ),
        (
            "names-in-leaf",
            &[],
            with("nameConstraints=permitted;DNS:example.test"),
            explained(),
        ),
        (
            "names-in-leaf-critical",
            &[],
            with("nameConstraints=critical,excluded;DNS:example.test"),
            explained(),
        ),
        (
            "no-key-identifiers",
            &[],
            with("subjectKeyIdentifier=none\nauthorityKeyIdentifier=none"),
            explained(),
        ),
        (
            "foreign-key-identifier",
            &[],
            with("2.5.29.35=DER:300680041234abcd"),
            explained(),
        ),
        (
            "critical-key-identifier",
            &[],
            with("2.5.29.35=critical,DER:300680041234abcd"),
            Fate::Alert("cert_untrusted"),
        ),
        (
            "unknown-critical",
            &[],
            with("1.2.3.4=critical,DER:0500"),
            Fate::Alert("cert_untrusted"),
        ),
    ] {
        let made = pki::request(dir, name);
        let issuer = "authority/issuing";
        let mut options = options.to_vec();
        if !options.contains(&"-set_serial") {
            options.extend(["-set_serial", "11"]);
        }
        let forged = forge(&siege, issuer, &made.csr, name, &options, &extensions);
        let fate = fate(&siege, &forged, Some(&made.key), &REASONS);
        assert_eq!(fate, expected, "{name}");
        siege.honest(name);
    }
    assert_eq!(acme.partner.get("/protected").status, 200);
}

/// Weak keys are refused for what they are: nobody is asked to prove that he holds one.
#[test]
fn certificates_with_weak_keys_are_no_identity() {
    let siege = Siege::new();
    let dir = siege.gateway.dir();
    let acme = siege.gateway.enrol("acme");
    let dsa = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/crypto/testdata/csr/dsa.pem");
    let curve = |name: &str| {
        let curve = format!("ec_paramgen_curve:{name}");
        let args = ["-newkey", "ec", "-pkeyopt", &curve];
        pki::request_with(dir, name, &args).csr
    };
    let rsa = |bits: &str| {
        let kind = format!("rsa:{bits}");
        pki::request_with(dir, bits, &["-newkey", &kind]).csr
    };
    for (name, csr) in [
        ("p192", curve("prime192v1")),
        ("p224", curve("secp224r1")),
        ("k256", curve("secp256k1")),
        ("p521", curve("secp521r1")),
        ("rsa512", rsa("512")),
        ("rsa1024", rsa("1024")),
        ("dsa", dsa),
    ] {
        let options = ["-set_serial", "11"];
        let forged = forge(&siege, "authority/issuing", &csr, name, &options, USAGE);
        let fate = fate(&siege, &forged, None, &REASONS);
        assert_eq!(fate, Fate::Alert("cert_usage"), "{name}");
        siege.honest(name);
    }
    // The certificate that counts, shown by somebody who has no key at all.
    let thief = fate(&siege, &acme.certificate, None, &REASONS);
    assert_eq!(thief, Fate::Alert("cert_bad_signature"));
    siege.honest("a thief of a certificate");
    assert_eq!(acme.partner.get("/protected").status, 200);
}

/// Names under constraints: an authority below our own root, made with the root's key, is the worst case there is.
#[test]
fn name_constraints_cost_little_and_those_on_mail_refuse_everything() {
    let siege = Siege::new();
    let dir = siege.gateway.dir();
    let acme = siege.gateway.enrol("acme");
    let authority =
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n";
    let constraints = numbered(800, |n| format!("excluded;DNS.{n}=x{n}.invalid\n"));
    let names = numbered(800, |n| format!("DNS.{n}=a{n}.example.test\n"));
    let mail = "subjectAltName=email:ops@example.test";
    for (name, issuer, leaf, expected) in [
        (
            "many",
            format!("{authority}nameConstraints=critical,@all\n[all]\n{constraints}"),
            format!("{USAGE}subjectAltName=@all\n[all]\n{names}"),
            // More comparisons than webpki makes for one chain.
            Fate::Alert("cert_untrusted"),
        ),
        (
            "one-that-excludes",
            format!("{authority}nameConstraints=critical,excluded;DNS:example.test"),
            format!("{USAGE}subjectAltName=DNS:a.example.test"),
            Fate::Alert("cert_untrusted"),
        ),
        // webpki knows no constraints on mail addresses, and so no address meets one: too much is refused, nothing
        // let through.
        (
            "mail",
            format!("{authority}nameConstraints=critical,permitted;email:example.test"),
            format!("{USAGE}{mail}"),
            Fate::Alert("cert_untrusted"),
        ),
        (
            "mail-without-constraints",
            authority.to_owned(),
            format!("{USAGE}{mail}"),
            Fate::Explained("cert_unregistered".to_owned()),
        ),
    ] {
        let (below, client) = (format!("{name}-ca"), format!("{name}-client"));
        let (sub, made) = (pki::request(dir, &below), pki::request(dir, &client));
        let serial = ["-set_serial", "11"];
        let sub = forge(&siege, "authority/root", &sub.csr, &below, &serial, &issuer);
        let forged = forge(&siege, &below, &made.csr, &client, &serial, &leaf);
        let chain = dir.join("chain.pem");
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        std::fs::write(&chain, text(&forged) + &text(&sub)).unwrap();
        // The time of the gateway, and not of a machine that does other things as well.
        let before = siege.gateway.cpu();
        let fate = fate(&siege, &chain, Some(&made.key), &REASONS);
        assert_eq!(fate, expected, "{name}");
        let used = siege.gateway.cpu().saturating_sub(before);
        assert!(used < Duration::from_secs(1), "{name}: {used:?}");
        siege.honest(name);
    }
    assert_eq!(acme.partner.get("/protected").status, 200);
}
