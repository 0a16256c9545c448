//! Upstreams with a self-signed certificate, as `openssl req -x509` makes it, that the operator has put into `tls.ca`.

use std::path::{Path, PathBuf};

use crate::support::gateway::{Gateway, config};
use crate::support::process::run;
use crate::support::upstream::Secured;

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// A self-signed certificate and its key.
fn made(dir: &Path, name: &str, more: &[&str]) -> (PathBuf, PathBuf) {
    let (pem, key) = (format!("{name}.pem"), format!("{name}.key"));
    let mut args = vec![
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ];
    args.extend(["-keyout", &key, "-out", &pem, "-days", "30"]);
    args.extend(more);
    run(dir, "openssl", &args).ok();
    (dir.join(pem), dir.join(key))
}

fn asked(server: &Secured, ca: &Path, more: &str) -> (u16, String) {
    let url = server.url();
    let endpoints = format!("endpoints: [\"{url}\"]");
    let tls = format!("{endpoints}, tls: {{ ca: \"{}\"{more} }}", ca.display());
    let gateway = Gateway::start(&config(&url, OPEN).replace(&endpoints, &tls));
    let got = gateway.stranger().get("/");
    let detail = got.text();
    assert!(
        got.status == 200 || !detail.contains("configuration"),
        "{detail}"
    );
    (got.status, got.reason())
}

const NAMED: [&str; 4] = [
    "-subj",
    "/CN=api",
    "-addext",
    "subjectAltName=DNS:localhost",
];

#[test]
fn a_pinned_certificate_is_trusted_whatever_it_says_of_authority() {
    let dir = tempfile::tempdir().unwrap();
    let no_constraints = dir.path().join("plain.cnf");
    std::fs::write(&no_constraints, "[req]\ndistinguished_name=dn\n[dn]\n").unwrap();
    let plain = ["-config", no_constraints.to_str().unwrap()];
    for (name, more) in [
        ("default", vec![]),
        (
            "authority",
            vec!["-addext", "basicConstraints=critical,CA:TRUE"],
        ),
        (
            "leaf",
            vec!["-addext", "basicConstraints=critical,CA:FALSE"],
        ),
        ("bare", plain.to_vec()),
    ] {
        let args: Vec<_> = NAMED.into_iter().chain(more).collect();
        let (pem, key) = made(dir.path(), name, &args);
        let server = Secured::start(&pem, &key);
        assert_eq!(asked(&server, &pem, "").0, 200, "{name}");
    }
    // The name in the subject only.
    let (pem, key) = made(dir.path(), "old", &["-subj", "/CN=localhost"]);
    assert_eq!(asked(&Secured::start(&pem, &key), &pem, "").0, 200);
}

#[test]
fn only_the_pinned_certificate_is_trusted_and_only_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (pinned, key) = made(dir.path(), "pinned", &NAMED);
    // Another key and the same words.
    let (other, other_key) = made(dir.path(), "other", &NAMED);
    let refused = (502, "upstream_tls".to_owned());
    assert_eq!(
        asked(&Secured::start(&other, &other_key), &pinned, ""),
        refused
    );
    let server = Secured::start(&pinned, &key);
    assert_eq!(
        asked(&server, &pinned, ", server_name: other.test"),
        refused
    );
    let both = dir.path().join("both.pem");
    let text = [&other, &pinned]
        .map(|path| std::fs::read_to_string(path).unwrap())
        .concat();
    std::fs::write(&both, text).unwrap();
    assert_eq!(asked(&server, &both, "").0, 200);
}
