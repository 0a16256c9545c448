//! Libraries that sign requests (RFC 9421), each as its own documents show it. The programs are in
//! `tests/clients/signatures`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::clients::{installed, source, target};
use crate::support::gateway::{Gateway, HOST, config_with};
use crate::support::process::run;
use crate::support::upstream::Echo;

const ROUTES: &str =
    "      - { match: { prefix: /v1 }, require: key, accept: [signature], upstream: api }\n";

#[test]
fn pk_11_http_message_signatures_for_python_signs_what_is_served() {
    let said = steps(
        &installed("python/bin/python"),
        "signatures/python_signatures.py",
    );
    let served = json!([
        200,
        200,
        200,
        "signature_replayed",
        "content_digest_mismatch"
    ]);
    let expected = ["hmac", "ecdsa", "ed25519"].map(|name| (name.to_owned(), served.clone()));
    assert_eq!(said, expected);
}

#[test]
fn pk_11_http_message_signatures_for_node_signs_what_is_served() {
    installed("node/node_modules/http-message-signatures");
    let said = steps(
        &installed("python/bin/node"),
        "signatures/node_signatures.mjs",
    );
    let served = json!([200, 200, "signature_replayed", "content_digest_mismatch"]);
    let expected = ["hmac", "ecdsa", "ed25519"].map(|name| (name.to_owned(), served.clone()));
    assert_eq!(said, expected);
}

/// A private key in a file, made by openssl.
fn private_key(gateway: &Gateway, name: &str, algorithm: &[&str]) -> PathBuf {
    let file = gateway.dir().join(name);
    let args = ["genpkey", "-out", file.to_str().unwrap(), "-algorithm"];
    run(gateway.dir(), "openssl", &[&args[..], algorithm].concat()).ok();
    file
}

/// The last octets of a key's public half, in base64url.
fn public(gateway: &Gateway, key: &Path, parts: &[usize]) -> Vec<String> {
    let der = gateway.dir().join("public.der");
    let (key, out) = (key.to_str().unwrap(), der.to_str().unwrap());
    run(
        gateway.dir(),
        "openssl",
        &[
            "pkey", "-in", key, "-pubout", "-outform", "DER", "-out", out,
        ],
    )
    .ok();
    let octets = std::fs::read(der).unwrap();
    let mut rest = &octets[octets.len() - parts.iter().sum::<usize>()..];
    let mut found = Vec::new();
    for part in parts {
        let (first, after) = rest.split_at(*part);
        found.push(data_encoding::BASE64URL_NOPAD.encode(first));
        rest = after;
    }
    found
}

/// Runs a program against a gateway of its own, and returns the steps that it reports.
fn steps(interpreter: &Path, file: &str) -> Vec<(String, Value)> {
    let echo = Echo::start();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sealing"), "s".repeat(32)).unwrap();
    let more = "keys: { sealing_key: \"${file:sealing}\" }\n";
    let text = config_with(&echo.url(), ROUTES, more).replace(HOST, "localhost");
    let gateway = Gateway::start_in(dir, &text);
    gateway.cli_json(&["app", "create", "acme"]);
    let (ec, ed) = (
        private_key(
            &gateway,
            "ec.pem",
            &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        ),
        private_key(&gateway, "ed.pem", &["ED25519"]),
    );
    let (point, x) = (
        public(&gateway, &ec, &[32, 32]),
        public(&gateway, &ed, &[32]),
    );
    let jwks = json!({"keys": [
        {"kty": "EC", "crv": "P-256", "kid": "ec", "x": point[0], "y": point[1]},
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": x[0]},
    ]});
    std::fs::write(gateway.dir().join("jwks.json"), jwks.to_string()).unwrap();
    let setting = format!("jwks={}", gateway.dir().join("jwks.json").display());
    gateway.cli_json(&["app", "set", "acme", &setting]);
    let made = gateway.cli_json(&["key", "create", "--app", "acme", "--kind", "signing"]);
    let output = Command::new(interpreter)
        .arg(source(file))
        .env(
            "API",
            format!("https://localhost:{}/v1/orders", gateway.partners().port()),
        )
        .env("CA", gateway.ca())
        .env("KEY_ID", made["key"]["id"].as_str().unwrap())
        .env("KEY", made["secret"].as_str().unwrap())
        .env("EC", ec)
        .env("ED", ed)
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
