//! An authority that the operator brings along: used as it is, or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::gateway::{Circumstances, Gateway, config};
use crate::support::pki::{self, Stranger};
use crate::support::process::run;
use crate::support::upstream::Echo;

const MTLS: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

/// Puts an authority of the operator's own into `dir`, whose issuing certificate has these extensions.
fn bring_along(dir: &Path, extensions: &str) {
    let ours = dir.join("authority");
    fs::create_dir_all(&ours).unwrap();
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o700)).unwrap();
    let root = Stranger::new(dir, "root", "/CN=Example Root");
    let issuing = pki::request_with(
        dir,
        "issuing",
        &[
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-subj",
            "/CN=Example Issuing",
        ],
    );
    let certificate = root.sign(&issuing, extensions);
    fs::copy(root.certificate(), ours.join("root.pem")).unwrap();
    fs::copy(certificate, ours.join("issuing.pem")).unwrap();
    fs::copy(&issuing.key, ours.join("issuing.key")).unwrap();
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(ours.join("issuing.key"), mode).unwrap();
}

/// The first start with an authority of one's own.
fn new_store() -> Circumstances<'static> {
    Circumstances {
        args: &["--new-store"],
        ..Circumstances::default()
    }
}

const ISSUING: &str = "basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid";

#[test]
fn an_authority_that_was_brought_along_signs_and_is_trusted() {
    let echo = Echo::start();
    let dir = tempfile::tempdir().unwrap();
    bring_along(dir.path(), ISSUING);
    let file = |dir: &Path, name: &str| fs::read(dir.join("authority").join(name)).unwrap();
    let before = ["root.pem", "issuing.pem", "issuing.key"].map(|name| file(dir.path(), name));
    let text = config(&echo.url(), MTLS);
    let (code, log, dir) = Gateway::try_start_in(dir, &text).expect_err("no store, not asked for");
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("--new-store"), "{log}");
    let gateway = Gateway::start_by(dir, &text, new_store());
    let after = ["root.pem", "issuing.pem", "issuing.key"].map(|name| file(gateway.dir(), name));
    assert!(before == after, "the files are the operator's");
    assert!(!gateway.dir().join("authority/root.key").exists());
    let acme = gateway.enrol("acme");
    assert_eq!(acme.partner.get("/").status, 200);
    let verified = run(
        gateway.dir(),
        "openssl",
        &[
            "verify",
            "-purpose",
            "sslclient",
            "-CAfile",
            "authority/root.pem",
            "-untrusted",
            "authority/issuing.pem",
            acme.certificate.to_str().unwrap(),
        ],
    );
    assert_eq!(verified.code, 0, "{verified:?}");
    let ends = |file: &str| {
        let args = ["x509", "-in", file, "-noout", "-enddate"];
        run(gateway.dir(), "openssl", &args).ok()
    };
    assert_eq!(
        ends(acme.certificate.to_str().unwrap()),
        ends("authority/issuing.pem"),
        "no leaf outlives its issuer"
    );
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    assert_eq!(acme.partner.get("/").reason(), "cert_revoked");
    let listed = gateway.cli_json(&["audit", "list", "--action", "authority.create"]);
    assert_eq!(listed, serde_json::json!([]), "it was not made here");
}

#[test]
fn an_authority_that_cannot_work_is_not_served_with() {
    let text = config("http://127.0.0.1:1", MTLS);
    let refused = |dir: tempfile::TempDir, what: &str| {
        let (code, log, _) = Gateway::try_start_by(dir, &text, new_store()).expect_err(what);
        assert!(matches!(code, Some(1 | 78)), "{what}: {code:?} {log}");
        log
    };
    for (what, extensions) in [
        ("no authority", "basicConstraints=critical,CA:FALSE"),
        (
            "may not sign certificates",
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        bring_along(dir.path(), extensions);
        refused(dir, what);
    }
    let dir = tempfile::tempdir().unwrap();
    bring_along(dir.path(), ISSUING);
    let key = dir.path().join("authority/issuing.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let log = refused(dir, "a key that others can read");
    assert!(log.contains("issuing.key") && log.contains("0600"), "{log}");
    let dir = tempfile::tempdir().unwrap();
    bring_along(dir.path(), ISSUING);
    let other = pki::request(dir.path(), "other").key;
    let key = dir.path().join("authority/issuing.key");
    fs::copy(other, &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    refused(dir, "the key of another certificate");
    let dir = tempfile::tempdir().unwrap();
    bring_along(dir.path(), ISSUING);
    let other = Stranger::new(dir.path(), "other-root", "/CN=Example Root").certificate();
    fs::copy(other, dir.path().join("authority/root.pem")).unwrap();
    refused(dir, "a root that has not signed it");
}
