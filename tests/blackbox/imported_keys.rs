//! Keys of another system: their holders show what they always showed.

use crate::key_kinds::scene;
use crate::support::gateway::{Gateway, config_with};
use crate::support::upstream::Echo;

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn sha256(text: &str) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref())
}

#[test]
fn an_imported_key_is_taken_as_its_holder_sends_it() {
    const TEXT: &str = "SG.old-system.Zm9vYmFy";
    let scene = scene();
    let digest = sha256(TEXT);
    let args = ["key", "import", "--app", "acme", "--digest", &digest];
    let made = scene.gateway.cli_json(&args);
    let id = made["key"]["id"].as_str().unwrap();
    let basic = data_encoding::BASE64.encode(format!("{id}:{TEXT}").as_bytes());
    for (name, value) in [
        ("Authorization", format!("Bearer {TEXT}")),
        ("X-Api-Key", TEXT.to_owned()),
        ("Authorization", format!("Basic {basic}")),
    ] {
        let answer = scene.partner().get_with("/v1", &[(name, &value)]);
        assert_eq!(answer.status, 200, "{name} {value}");
        let seen = answer.text();
        assert!(!seen.contains(TEXT) && !seen.contains(&basic), "{seen}");
    }
    let twice = scene.gateway.cli(&args);
    assert_ne!(twice.code, 0);
    assert!(
        twice.stderr.contains("already registered"),
        "{}",
        twice.stderr
    );
    let near = scene.partner().get_by("/v1", "SG.old-system.Zm9vYmFz");
    assert_eq!(near.status, 401);
    scene.gateway.cli_json(&["key", "revoke", id, "--yes"]);
    assert_eq!(scene.partner().get_by("/v1", TEXT).status, 401);
    for bad in ["", "zz", &digest[1..]] {
        let args = ["key", "import", "--app", "acme", "--digest", bad];
        assert_ne!(scene.gateway.cli(&args).code, 0, "{bad}");
    }
    let peppered = [
        "key",
        "import",
        "--app",
        "acme",
        "--algorithm",
        "hmac-sha256",
        "--digest",
        &digest,
    ];
    let refused = scene.gateway.cli(&peppered);
    assert!(refused.stderr.contains("keys.pepper"), "{}", refused.stderr);
}

#[test]
fn a_digest_under_a_secret_needs_the_same_secret_here() {
    const PEPPER: &str = "0123456789abcdef0123456789abcdef";
    let echo = Echo::start();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pepper"), PEPPER).unwrap();
    let routes = "      - { match: { prefix: / }, require: key, upstream: api }\n";
    let more = "keys: { pepper: \"${file:pepper}\" }\n";
    let gateway = Gateway::start_in(dir, &config_with(&echo.url(), routes, more));
    gateway.cli_json(&["app", "create", "acme"]);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, PEPPER.as_bytes());
    let digest = hex(aws_lc_rs::hmac::sign(&key, b"an old key").as_ref());
    let args = [
        "key",
        "import",
        "--app",
        "acme",
        "--algorithm",
        "hmac-sha256",
    ];
    gateway.cli_json(&[&args[..], &["--digest", &digest]].concat());
    let answer = gateway
        .stranger()
        .get_with("/", &[("X-Api-Key", "an old key")]);
    assert_eq!(answer.status, 200);
    // The digest itself is no key.
    let answer = gateway.stranger().get_with("/", &[("X-Api-Key", &digest)]);
    assert_eq!(answer.status, 401);
}
