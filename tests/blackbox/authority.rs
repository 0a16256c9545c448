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

/// The files that trust depends on.
const TRUST: [&str; 4] = [
    "authority/root.pem",
    "authority/issuing.pem",
    "authority/issuing.key",
    "token.key",
];

/// The directory of a gateway that was killed, with an App, its certificate, and a token.
struct Left {
    dir: tempfile::TempDir,
    certificate: std::path::PathBuf,
    key: std::path::PathBuf,
    token: String,
}

const TOKEN: &str = "      - { match: { prefix: /token }, require: token, upstream: api }
      - { match: { prefix: / }, require: mtls, upstream: api }";

impl Left {
    fn by(text: &str) -> Self {
        let gateway = Gateway::start(text);
        let acme = gateway.enrol("acme");
        let (id, secret) = gateway.key("acme", &[]);
        let token = gateway.stranger().token(&id, &secret);
        let name = |path: &Path| path.strip_prefix(gateway.dir()).unwrap().to_owned();
        let (certificate, key) = (name(&acme.certificate), name(&acme.key));
        Self {
            token,
            certificate,
            key,
            dir: gateway.kill(),
        }
    }

    fn copy(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (self.dir.path().join("."), dir.path().to_str().unwrap());
        run(dir.path(), "cp", &["-a", from.to_str().unwrap(), to]).ok();
        let _ = fs::remove_file(dir.path().join("admin.sock"));
        dir
    }

    /// The certificate and the token are valid.
    fn is_served_by(&self, gateway: &Gateway) {
        let partner = gateway.partner(
            &self.dir.path().join(&self.certificate),
            &self.dir.path().join(&self.key),
        );
        assert_eq!(partner.get("/").status, 200);
        assert_eq!(gateway.stranger().get_by("/token", &self.token).status, 200);
    }
}

/// Signs a certificate of the authority once more, so that it has ended.
fn expire(dir: &Path, name: &str) {
    let sign = |more: &str| {
        let line = format!("x509 {more} -days -1 -out ended.pem");
        run(dir, "openssl", &line.split(' ').collect::<Vec<_>>()).ok();
    };
    if name.contains("root") {
        sign("-in authority/root.pem -signkey authority/root.key");
    } else {
        let line = "req -new -key authority/issuing.key -subj /CN=Issuing -out issuing.csr";
        run(dir, "openssl", &line.split(' ').collect::<Vec<_>>()).ok();
        fs::write(dir.join("issuing.ext"), ISSUING).unwrap();
        let by = "-CA authority/root.pem -CAkey authority/root.key -CAcreateserial";
        sign(&format!("-req -in issuing.csr -extfile issuing.ext {by}"));
    }
    fs::copy(dir.join("ended.pem"), dir.join(name)).unwrap();
}

#[test]
fn a_file_of_trust_that_is_missing_or_spoilt_ends_the_start_and_is_not_made_again() {
    type Spoil = (&'static str, fn(&Path, &str));
    let echo = Echo::start();
    let text = config(&echo.url(), TOKEN);
    let left = Left::by(&text);
    let everywhere: [Spoil; 4] = [
        ("missing", |dir, name| {
            fs::remove_file(dir.join(name)).unwrap();
        }),
        ("empty", |dir, name| {
            fs::write(dir.join(name), "").unwrap();
        }),
        ("unreadable", |dir, name| {
            fs::remove_file(dir.join(name)).unwrap();
            fs::create_dir(dir.join(name)).unwrap();
        }),
        ("no text", |dir, name| {
            fs::write(dir.join(name), [0xff; 300]).unwrap();
        }),
    ];
    let foreign: Spoil = ("foreign", |dir, name| {
        let stranger = Stranger::new(dir, "foreign", "/CN=Countersign");
        let from = if name.ends_with("key") {
            dir.join("foreign.key")
        } else {
            stranger.certificate()
        };
        fs::write(dir.join(name), fs::read(from).unwrap()).unwrap();
    });
    let cases = TRUST
        .iter()
        .flat_map(|file| everywhere.iter().map(move |spoil| (*file, *spoil)))
        .chain(TRUST[..3].iter().map(|file| (*file, foreign)))
        .chain(TRUST[..2].iter().map(|file| {
            let expired: Spoil = ("expired", expire);
            (*file, expired)
        }));
    for (file, (what, spoil)) in cases {
        let dir = left.copy();
        spoil(dir.path(), file);
        let before = fs::read(dir.path().join(file)).ok();
        let started = Gateway::try_start_in(dir, &text);
        let (code, log, dir) = started.expect_err(&format!("{file} is {what}"));
        assert!(
            matches!(code, Some(1 | 78)),
            "{file} {what}: {code:?} {log}"
        );
        let part = if file.starts_with("token") {
            "token.key"
        } else {
            "authority"
        };
        assert!(log.contains(part), "{file} {what}: {log}");
        let after = fs::read(dir.path().join(file)).ok();
        assert!(after == before, "{file} {what}: it was written");
    }
    let gateway = Gateway::start_in(left.copy(), &text);
    left.is_served_by(&gateway);
}

#[test]
fn the_files_of_trust_are_read_however_they_were_saved() {
    let echo = Echo::start();
    let text = config(&echo.url(), TOKEN);
    let left = Left::by(&text);
    for (how, save) in [
        (
            "a mark",
            (|text| format!("\u{feff}{text}")) as fn(&str) -> String,
        ),
        ("CRLF", |text| text.replace('\n', "\r\n")),
        ("both", |text| {
            format!("\u{feff}{}\r\n", text.replace('\n', "\r\n"))
        }),
    ] {
        let dir = left.copy();
        for file in TRUST {
            let path = dir.path().join(file);
            let saved = save(&fs::read_to_string(&path).unwrap());
            fs::write(path, saved).unwrap();
        }
        let started = Gateway::try_start_in(dir, &text);
        let gateway = started.unwrap_or_else(|(code, log, _)| panic!("{how}: {code:?} {log}"));
        left.is_served_by(&gateway);
        let again = gateway.enrol("other");
        assert_eq!(again.partner.get("/").status, 200, "{how}");
    }
}
