//! A reload on handshakes: which certificate is shown, and which sessions come back.

use std::fs;
use std::path::Path;

use crate::support::client::{Connection, Partner};
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config, config_with};
use crate::support::pki::{self, Stranger};
use crate::support::upstream::Echo;

const MTLS: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";
const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// Puts a certificate of `authority` for our host where the configuration names it.
fn serve(dir: &Path, authority: &Stranger, name: &str) {
    let made = pki::request(dir, name);
    let names = format!("subjectAltName=DNS:{HOST}\nextendedKeyUsage=serverAuth");
    fs::copy(authority.sign(&made, &names), dir.join("server.pem")).unwrap();
    fs::copy(&made.key, dir.join("server.key")).unwrap();
}

#[test]
fn a_new_server_certificate_is_shown_after_hup_and_open_connections_go_on() {
    let echo = Echo::start();
    let dir = tempfile::tempdir().unwrap();
    let authority = Stranger::new(dir.path(), "public", "/CN=Public");
    serve(dir.path(), &authority, "first");
    let tls = "tls: { certificates: [{ cert: server.pem, key: \"${file:server.key}\" }] }";
    let gateway = Gateway::start_in(dir, &config_with(&echo.url(), OPEN, tls));
    let partner = Partner::new(gateway.partners(), HOST, &authority.certificate(), None);
    let mut kept = partner.connect();
    assert_eq!(kept.get("/").status, 200);
    let first = kept.shown();

    // A certificate and the key of another: nothing changes, and the operator is told.
    let other = pki::request(gateway.dir(), "other").key;
    let good = fs::read(gateway.dir().join("server.key")).unwrap();
    fs::copy(other, gateway.dir().join("server.key")).unwrap();
    let refused = gateway.cli(&["reload"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    assert_eq!(partner.connect().shown(), first);
    fs::write(gateway.dir().join("server.key"), good).unwrap();

    serve(gateway.dir(), &authority, "second");
    gateway.signal("HUP");
    let second = eventually("another certificate is shown", || {
        let shown = partner.connect().shown();
        (shown != first).then_some(shown)
    });
    assert_eq!(kept.get("/").status, 200, "the old connection goes on");
    assert_eq!(kept.shown(), first);
    let mut fresh = partner.connect();
    assert_eq!((fresh.get("/").status, fresh.shown()), (200, second));
}

/// A connection that resumed an earlier one's session.
fn resumed(partner: &Partner) -> Connection {
    eventually("a session is resumed", || {
        let mut connection = partner.connect();
        assert_eq!(connection.get("/").status, 200);
        connection.resumed().then_some(connection)
    })
}

#[test]
fn sessions_of_before_a_change_of_trust_are_not_resumed() {
    let echo = Echo::start();
    let text = config(&echo.url(), MTLS);
    let gateway = Gateway::start(&text);
    let acme = gateway.enrol("acme");
    let identity = Some((acme.certificate.as_path(), acme.key.as_path()));
    let older = acme.partner.over_tls12(&gateway.ca(), identity);
    drop((resumed(&acme.partner), resumed(&older)));
    gateway.configure(&text.replace(
        "version: 1",
        "version: 1\ntls: { client_auth: { reject: alert } }",
    ));
    gateway.cli(&["reload"]).ok();
    for (partner, version) in [(&acme.partner, "1.3"), (&older, "1.2")] {
        let mut connection = partner.connect();
        assert_eq!(connection.get("/").status, 200, "TLS {version}");
        assert!(!connection.resumed(), "TLS {version}");
        // Sessions of the new configuration come back as before.
        drop(resumed(partner));
    }
}

#[test]
fn a_session_that_is_resumed_is_asked_about_in_both_versions_of_tls() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    let acme = gateway.enrol("acme");
    let identity = Some((acme.certificate.as_path(), acme.key.as_path()));
    let older = acme.partner.over_tls12(&gateway.ca(), identity);
    drop((resumed(&acme.partner), resumed(&older)));
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    for (partner, version) in [(&acme.partner, "1.3"), (&older, "1.2")] {
        let mut connection = partner.connect();
        let answer = connection.get("/");
        assert!(connection.resumed(), "TLS {version}");
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (403, "cert_revoked"),
            "TLS {version}"
        );
    }
}
