//! OAuth libraries that partners use, each as its own documents show it. The programs are in `tests/clients/oauth`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::clients::{installed, source, target};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::process::run;
use crate::support::upstream::Echo;

const ROUTES: &str =
    "      - { match: { path: /orders }, require: token, scopes: [orders:read], upstream: api }";

#[test]
fn authlib_gets_every_token_and_ends_it() {
    let said = steps(&installed("python/bin/python"), "oauth/python_authlib.py");
    let expected = [
        ("issuer", json!(true)),
        ("client_credentials", json!(["Bearer", "orders:read"])),
        ("call", json!(200)),
        ("introspection", json!([true, true])),
        ("private_key_jwt", json!("Bearer")),
        ("vouch", json!("urn:countersign:token-type:auth")),
        ("login", json!(200)),
        ("refresh", json!([true, 200])),
        ("revocation", json!([200, 401])),
    ];
    assert_eq!(said, expected.map(named));
}

#[test]
fn requests_oauthlib_gets_a_token_and_reads_why_it_gets_none() {
    let python = installed("python/bin/python");
    let said = steps(&python, "oauth/python_requests_oauthlib.py");
    let expected = [
        ("client_credentials", json!(["Bearer", ["orders:read"]])),
        ("call", json!(200)),
        ("wrong secret", json!("invalid_client")),
        ("other scope", json!("invalid_scope")),
    ];
    assert_eq!(said, expected.map(named));
}

#[test]
fn openid_client_gets_every_token_and_ends_it() {
    installed("node/node_modules/openid-client");
    let said = steps(&installed("python/bin/node"), "oauth/openid_client.mjs");
    let expected = [
        ("issuer", json!(true)),
        ("client_credentials", json!(["bearer", "orders:read"])),
        ("call", json!(200)),
        ("introspection", json!([true, true])),
        ("private_key_jwt", json!("bearer")),
        ("dpop", json!(["dpop", 200])),
        ("vouch", json!("urn:countersign:token-type:auth")),
        ("login", json!(200)),
        ("refresh", json!([true, 200])),
        ("revocation", json!(401)),
    ];
    assert_eq!(said, expected.map(named));
}

#[test]
fn oauth4webapi_takes_every_answer() {
    installed("node/node_modules/oauth4webapi");
    let said = steps(&installed("python/bin/node"), "oauth/oauth4webapi.mjs");
    let expected = [
        ("issuer", json!(true)),
        ("client_credentials", json!(["bearer", "orders:read"])),
        ("vouch", json!("urn:countersign:token-type:auth")),
        ("refresh", json!(true)),
        ("dpop", json!(["dpop", 1, 200, 401])),
        ("wrong secret", json!(401)),
    ];
    assert_eq!(said, expected.map(named));
}

fn named((step, value): (&str, Value)) -> (String, Value) {
    (step.to_owned(), value)
}

/// The private key by which the App signs, whose public half the App has.
fn signer(gateway: &Gateway) -> PathBuf {
    let key = gateway.dir().join("signer.pem");
    let path = key.to_str().unwrap();
    let openssl = |args: &[&str]| run(gateway.dir(), "openssl", args).ok();
    openssl(&[
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-out",
        path,
    ]);
    let modulus = openssl(&["rsa", "-in", path, "-noout", "-modulus"]);
    let modulus = modulus.trim().strip_prefix("Modulus=").unwrap();
    let modulus = data_encoding::HEXUPPER.decode(modulus.as_bytes()).unwrap();
    let n = data_encoding::BASE64URL_NOPAD.encode(&modulus);
    let jwks = json!({"keys": [{"kty": "RSA", "e": "AQAB", "n": n, "kid": "partner"}]});
    let file = gateway.dir().join("partner.jwks.json");
    std::fs::write(&file, jwks.to_string()).unwrap();
    let setting = format!("jwks={}", file.display());
    gateway.cli_json(&["app", "set", "acme", &setting]);
    key
}

/// A port that nothing listens on now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Runs a program against a gateway of its own, and returns the steps that it reports.
fn steps(interpreter: &Path, file: &str) -> Vec<(String, Value)> {
    let echo = Echo::start();
    // The issuer is an origin that clients call, so that its port has to be known before the start.
    let port = free_port();
    let issuer = format!("https://localhost:{port}");
    let text = config(&echo.url(), ROUTES)
        .replace(&format!("https://{HOST}"), &issuer)
        .replace(HOST, "localhost")
        .replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
    let gateway = Gateway::start(&text);
    let enrolled = gateway.enrol("acme");
    let signer = signer(&gateway);
    let own = ["countersign:vouch", "countersign:introspect", "orders:read"];
    let pair = |(id, secret): (String, String)| format!("{id}:{secret}");
    let output = Command::new(interpreter)
        .arg(source(file))
        .env("ISSUER", &issuer)
        .env("API", format!("{issuer}/orders"))
        .env("CA", gateway.ca())
        .env("CERT", &enrolled.certificate)
        .env("KEY", &enrolled.key)
        .env("SERVER", pair(gateway.key("acme", &own)))
        .env("DEVICE", pair(gateway.key("acme", &[])))
        .env("SIGNER", signer)
        .env("MODULES", target().join("node/node_modules"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{file}: {output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let step = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let step = line["step"].as_str().unwrap().to_owned();
        (step, line["value"].clone())
    };
    said.lines().map(step).collect()
}
