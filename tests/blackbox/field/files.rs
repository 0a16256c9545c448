//! The files that a configuration names: `config check`, `serve` and `reload` find the same of them, and say it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::support::gateway::{Gateway, config, config_with};
use crate::support::pki::{self, Stranger};
use crate::support::process::{Finished, countersign, run};

const ROUTES: &str = "      - { match: { prefix: / }, upstream: api }";

/// A directory with a server certificate (`leaf.pem`, `leaf.key`) of an authority of its own (`own.pem`), and another
/// private key (`other.key`).
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let own = Stranger::new(path, "own", "/CN=Own Authority");
    let leaf = pki::request(path, "leaf");
    pki::request(path, "other");
    let signed = own.sign(
        &leaf,
        "subjectAltName=DNS:api.example.test\nextendedKeyUsage=serverAuth\n",
    );
    fs::rename(signed, path.join("leaf.pem")).unwrap();
    let (leaf, own) = (read(path, "leaf.pem"), read(path, "own.pem"));
    fs::write(path.join("chain.pem"), format!("{leaf}{own}")).unwrap();
    fs::write(path.join("backwards.pem"), format!("{own}{leaf}")).unwrap();
    // The authority, and two certificates of one key: the one in use and one that was replaced.
    let older = own_again(path);
    fs::write(path.join("two.pem"), format!("{own}{older}{leaf}")).unwrap();
    fs::write(path.join("strange.pem"), format!("{own}{own}")).unwrap();
    for key in ["leaf.key", "other.key"] {
        fs::set_permissions(path.join(key), Permissions::from_mode(0o600)).unwrap();
    }
    let args = [
        "pkey",
        "-in",
        "leaf.key",
        "-aes256",
        "-passout",
        "pass:x",
        "-out",
        "secret.key",
    ];
    run(path, "openssl", &args).ok();
    fs::set_permissions(path.join("secret.key"), Permissions::from_mode(0o600)).unwrap();
    dir
}

/// Another certificate for the key of `leaf.pem`.
fn own_again(path: &Path) -> String {
    let args = [
        "x509",
        "-req",
        "-in",
        "leaf.csr",
        "-CA",
        "own.pem",
        "-CAkey",
        "own.key",
        "-days",
        "5",
        "-out",
        "older.pem",
    ];
    run(path, "openssl", &args).ok();
    read(path, "older.pem")
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}

/// A configuration that shows this certificate with this private key.
fn showing(cert: &str, key: &str) -> String {
    let tls = format!("tls: {{ certificates: [{{ cert: {cert}, key: \"${{file:{key}}}\" }}] }}");
    config_with("http://127.0.0.1:9", ROUTES, &tls)
}

fn check(dir: &Path, config: &str) -> Value {
    fs::write(dir.join("countersign.yaml"), config).unwrap();
    let args = ["config", "check", "countersign.yaml", "--output", "json"];
    let said: Finished = countersign(dir, &args);
    let told: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        said.code,
        if told["valid"] == true { 0 } else { 6 },
        "{said:?}"
    );
    told
}

/// Each problem's or warning's path and message, one to a line.
fn lines(told: &Value, which: &str) -> String {
    let all = told[which].as_array().unwrap();
    let line = |one: &Value| {
        format!(
            "{}: {}\n",
            one["path"].as_str().unwrap(),
            one["message"].as_str().unwrap()
        )
    };
    all.iter().map(line).collect()
}

#[test]
fn what_cannot_be_used_is_found_by_the_check_and_ends_a_start_with_78() {
    let mut dir = directory();
    for (cert, key, place, words) in [
        (
            "leaf.pem",
            "other.key",
            "key",
            "other.key}: the private key belongs to another certificate than",
        ),
        (
            "leaf.pem",
            "secret.key",
            "key",
            "secret.key}: the private key cannot be read: the private key of line 1 is encrypted",
        ),
        (
            "leaf.pem",
            "leaf.pem",
            "key",
            "this is a CERTIFICATE, not a PRIVATE KEY",
        ),
        (
            "leaf.csr",
            "leaf.key",
            "cert",
            "leaf.csr: the certificate cannot be read: this is a CERTIFICATE REQUEST",
        ),
        ("leaf.key", "leaf.key", "cert", "private key"),
        (
            "two.pem",
            "leaf.key",
            "cert",
            "2 certificates in the file belong to the private key",
        ),
        (
            "strange.pem",
            "leaf.key",
            "key",
            "the private key belongs to another certificate than",
        ),
        (
            "countersign.yaml",
            "leaf.key",
            "cert",
            "there is no PEM section",
        ),
    ] {
        let text = showing(cert, key);
        let told = check(dir.path(), &text);
        let problems = lines(&told, "problems");
        assert!(problems.contains(words), "{cert} {key}: {problems}");
        let path = format!("tls.certificates[0].{place}: ");
        assert!(problems.contains(&path), "{cert} {key}: {problems}");
        assert!(told["problems"][0]["line"].is_u64(), "{told}");
        let (code, log, back) = Gateway::try_start_in(dir, &text).expect_err("it was started");
        assert_eq!(code, Some(78), "{log}");
        assert!(log.contains(words), "{log}");
        dir = back;
    }
}

#[test]
fn files_are_read_however_they_were_saved() {
    let dir = directory();
    let path = dir.path();
    let (chain, key) = (read(path, "chain.pem"), read(path, "leaf.key"));
    let wide = |text: &str| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    };
    let bag = b"Bag Attributes\n    friendlyName: Z\xfcrich\n";
    for (how, chain, key) in [
        (
            "a mark",
            format!("\u{feff}{chain}").into_bytes(),
            format!("\u{feff}{key}").into_bytes(),
        ),
        ("UTF-16", wide(&chain), wide(&key)),
        (
            "Latin-1",
            [bag, chain.as_bytes()].concat(),
            [bag, key.as_bytes()].concat(),
        ),
        (
            "CR",
            chain.replace('\n', "\r").into_bytes(),
            key.replace('\n', "\r").into_bytes(),
        ),
    ] {
        fs::write(path.join("saved.pem"), chain).unwrap();
        fs::write(path.join("saved.key"), key).unwrap();
        fs::set_permissions(path.join("saved.key"), Permissions::from_mode(0o600)).unwrap();
        let told = check(path, &showing("saved.pem", "saved.key"));
        assert_eq!(told["valid"], true, "{how}: {told}");
    }
    let _gateway = Gateway::start_in(dir, &showing("saved.pem", "saved.key"));
}

#[test]
fn a_bundle_with_the_authority_first_is_sent_in_order() {
    let gateway = Gateway::start_in(directory(), &showing("backwards.pem", "leaf.key"));
    let told = check(gateway.dir(), &showing("backwards.pem", "leaf.key"));
    assert!(
        lines(&told, "warnings").contains("is not the first in the file"),
        "{told}"
    );
    assert!(
        gateway.log().contains("is not the first in the file"),
        "{}",
        gateway.log()
    );
    let address = gateway.partners().to_string();
    let args = [
        "s_client",
        "-connect",
        &address,
        "-servername",
        "api.example.test",
        "-CAfile",
        "own.pem",
        "-verify_return_error",
        "-verify_hostname",
        "api.example.test",
    ];
    let shaken = run(gateway.dir(), "openssl", &args);
    assert!(shaken.stdout.contains("Verification: OK"), "{shaken:?}");
}

#[test]
fn what_is_old_or_open_is_warned_of() {
    let dir = directory();
    let path = dir.path();
    fs::set_permissions(path.join("leaf.key"), Permissions::from_mode(0o644)).unwrap();
    let told = check(path, &showing("leaf.pem", "leaf.key"));
    let warnings = lines(&told, "warnings");
    for words in [
        "tls.certificates[0].key: ",
        "leaf.key has the mode 0644",
        "leaf.pem: the certificate expires at ",
        "no certificate of the issuer CN=Own Authority",
    ] {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
    let args = [
        "x509", "-req", "-in", "leaf.csr", "-CA", "own.pem", "-CAkey", "own.key", "-days", "-1",
        "-out", "old.pem",
    ];
    run(path, "openssl", &args).ok();
    let old = read(path, "old.pem") + &read(path, "own.pem");
    fs::write(path.join("old.pem"), old).unwrap();
    let told = check(path, &showing("old.pem", "leaf.key"));
    assert!(
        lines(&told, "warnings").contains("old.pem: the certificate has expired at"),
        "{told}"
    );
    // For a person the same, and the gateway starts and says it, too.
    let shown = countersign(path, &["config", "check", "countersign.yaml"]);
    assert!(
        shown.stderr.contains("warning: ") && shown.stdout.contains("good"),
        "{shown:?}"
    );
    let gateway = Gateway::start_in(dir, &showing("old.pem", "leaf.key"));
    let log = gateway.log();
    assert!(
        log.contains("has expired at") && log.contains("has the mode 0644"),
        "{log}"
    );
}

#[test]
fn a_reload_finds_what_the_check_finds() {
    let gateway = Gateway::start_in(directory(), &showing("chain.pem", "leaf.key"));
    for (text, words) in [
        (
            showing("chain.pem", "other.key"),
            "belongs to another certificate",
        ),
        (showing("chain.pem", "secret.key"), "encrypted"),
        (showing("leaf.csr", "leaf.key"), "CERTIFICATE REQUEST"),
    ] {
        let told = check(gateway.dir(), &text);
        assert!(lines(&told, "problems").contains(words), "{told}");
        let refused = gateway.cli(&["reload"]);
        assert_ne!(refused.code, 0);
        let said = format!("{refused:?}");
        assert!(
            said.contains(words) && said.contains("tls.certificates[0]"),
            "{said}"
        );
    }
    gateway.configure(&showing("backwards.pem", "leaf.key"));
    gateway.cli(&["reload"]).ok();
}

#[test]
fn the_authority_the_token_key_the_store_and_upstreams_are_looked_into() {
    let text = config("http://127.0.0.1:9", ROUTES);
    let mut gateway = Gateway::start(&text);
    gateway.signal("TERM");
    gateway.wait(std::time::Duration::from_secs(30));
    let dir = gateway.kill();
    let path = dir.path();
    assert_eq!(check(path, &text)["valid"], true);
    pki::request(path, "other");
    let upstream = |tls: &str| {
        let more = format!("endpoints: [\"https://127.0.0.1:9\"], tls: {{ {tls} }}");
        text.replace("endpoints: [\"http://127.0.0.1:9\"]", &more)
    };
    fs::copy(path.join("authority/root.pem"), path.join("root.pem")).unwrap();
    let pair = "client_cert: root.pem, client_key: \"${file:other.key}\"";
    let socket = format!("socket: {}.sock", "x".repeat(120));
    for (text, place, words) in [
        (
            upstream("ca: other.csr"),
            "upstreams.api.tls.ca",
            "other.csr: ",
        ),
        (
            upstream(pair),
            "upstreams.api.tls.client_key",
            "belongs to another certificate",
        ),
        (
            text.replace("socket: admin.sock", &socket),
            "admin.socket",
            "the kernel takes 107",
        ),
        (
            text.replace("socket: admin.sock", "socket: no/admin.sock"),
            "admin.socket",
            "does not exist",
        ),
        (
            text.replace("path: access.log", "path: no/access.log"),
            "access_log.path",
            "does not exist",
        ),
    ] {
        let problems = lines(&check(path, &text), "problems");
        assert!(
            problems.contains(&format!("{place}: ")),
            "{place}: {problems}"
        );
        assert!(problems.contains(words), "{words}: {problems}");
    }
    for (file, place, words) in [
        (
            "authority/issuing.key",
            "authority.directory",
            "PRIVATE KEY",
        ),
        ("token.key", "tokens.signing_key", "no PEM section"),
        ("store.db", "store.url", "cut short"),
    ] {
        let good = fs::read(path.join(file)).unwrap();
        let bad = if file.contains("issuing") {
            read(path, "authority/root.pem")
        } else {
            "x".to_owned()
        };
        fs::write(path.join(file), bad).unwrap();
        let problems = lines(&check(path, &text), "problems");
        assert!(
            problems.contains(&format!("{place}: ")),
            "{file}: {problems}"
        );
        assert!(problems.contains(words), "{file}: {problems}");
        let served = countersign(path, &["serve", "--config", "countersign.yaml"]);
        assert_eq!(served.code, 78, "{file}: {served:?}");
        fs::write(path.join(file), good).unwrap();
    }
    assert_eq!(check(path, &text)["valid"], true);
}

/// What is lost beside the rest is not made again, and the check says so in the words of the start.
#[test]
fn what_is_lost_beside_a_store_in_use_is_found_by_the_check_and_refused_by_a_start() {
    let text = config("http://127.0.0.1:9", ROUTES);
    let mut gateway = Gateway::start(&text);
    gateway.signal("TERM");
    gateway.wait(std::time::Duration::from_secs(30));
    let dir = gateway.kill();
    let path = dir.path();
    for (lost, place, words) in [
        (
            &["authority"][..],
            "authority.directory",
            "authority is missing, and the store",
        ),
        (
            &["token.key"],
            "tokens.signing_key",
            "token.key is missing, and the store",
        ),
        (
            &["authority/issuing.key"],
            "authority.directory",
            "issuing.key is missing",
        ),
        (&["store.db"], "store.url", "was in use with the store"),
        (
            &["store.db", "token.key"],
            "tokens.signing_key",
            "token.key is missing, and the store",
        ),
        (
            &["store.db", "store.db.exists", "authority"],
            "store.url",
            "--new-store",
        ),
    ] {
        for name in lost {
            fs::rename(path.join(name), path.join(name.replace('/', "-") + ".away")).unwrap();
        }
        let said = check(path, &text);
        // Only a start knows whether it was asked to begin with an empty store.
        let may_be_asked_for = lost.contains(&"store.db.exists");
        let list = if may_be_asked_for {
            "warnings"
        } else {
            "problems"
        };
        let found = lines(&said, list);
        assert!(
            found.contains(&format!("{place}: ")) && found.contains(words),
            "{lost:?}: {found}"
        );
        assert_eq!(said["valid"], may_be_asked_for, "{lost:?}");
        let served = countersign(path, &["serve", "--config", "countersign.yaml"]);
        assert!([1, 78].contains(&served.code), "{lost:?}: {served:?}");
        assert!(served.stderr.contains(words), "{lost:?}: {served:?}");
        for name in lost {
            assert!(!path.join(name).exists(), "{name} is not made");
            fs::rename(path.join(name.replace('/', "-") + ".away"), path.join(name)).unwrap();
        }
    }
    assert_eq!(check(path, &text)["valid"], true);
    // Nothing is lost before the first start.
    let fresh = tempfile::tempdir().unwrap();
    assert_eq!(check(fresh.path(), &text)["valid"], true);
}
