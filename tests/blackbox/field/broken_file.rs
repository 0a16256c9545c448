//! A configuration file with a mistake on disk, beside a gateway that runs: everything that concerns the gateway works.

use std::fs;

use crate::support::gateway::{Gateway, config};
use crate::support::process::countersign;
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

/// Mistakes, by what they do to a good file, and whether the file is still YAML.
const MISTAKES: [(&str, &str, bool); 6] = [
    ("workers: 2", "wrokers: 2", true),
    ("upstream: api }", "upstream: nowhere }", true),
    ("version: 1", "version: 7", true),
    ("workers: 2", "workers: [", false),
    ("access_log: {", "access_log: {{", false),
    ("hosts:", "hosts:\n\t- x", false),
];

#[test]
fn a_mistake_in_the_file_keeps_no_operator_from_the_gateway() {
    let echo = Echo::start();
    let good = config(&echo.url(), ROUTES);
    let gateway = Gateway::start(&good);
    let ask = |args: &[&str]| {
        let all = [args, &["--config", "countersign.yaml"]].concat();
        countersign(gateway.dir(), &all)
    };
    gateway.cli_json(&["app", "create", "acme"]);
    for (place, (from, to, is_yaml)) in MISTAKES.into_iter().enumerate() {
        let acme = gateway.enrol_again("acme", &format!("c{place}"));
        assert_eq!(acme.partner.get("/").status, 200);
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        gateway.configure(&bad);
        let revoked = ask(&["cert", "revoke", &acme.id, "--yes"]);
        assert_eq!(revoked.code, 0, "{to}: {revoked:?}");
        let warned = revoked.stderr.contains("cannot be read as a whole");
        assert_eq!(warned, !is_yaml, "{to}: {revoked:?}");
        assert_eq!(acme.partner.get("/").reason(), "cert_revoked", "{to}");
        for args in [
            &["app", "suspend", "acme"][..],
            &["app", "resume", "acme"],
            &["status"],
        ] {
            let done = ask(args);
            assert_eq!(done.code, 0, "{to} {args:?}: {done:?}");
        }
        // The gateway judges, logs and counts; the command tells what is wrong.
        let reload = ask(&["reload"]);
        assert_eq!(reload.code, 6, "{to}: {reload:?}");
        assert!(reload.stderr.contains("line "), "{to}: {reload:?}");
        assert_eq!(
            gateway.count("countersign_config_last_reload_successful"),
            0,
            "{to}"
        );
        assert!(gateway.log().contains("reload refused"), "{to}");
        gateway.configure(&good);
        assert_eq!(ask(&["reload"]).code, 0, "{to}");
        assert_eq!(
            gateway.count("countersign_config_last_reload_successful"),
            1,
            "{to}"
        );
    }
    // Nothing of a socket in it: the default is looked at, and said.
    gateway.configure("\u{1}{{{");
    let lost = ask(&["status"]);
    assert!(
        lost.stderr.contains("/var/lib/countersign/admin.sock"),
        "{lost:?}"
    );
    assert!(
        lost.stderr.contains("cannot be read as a whole"),
        "{lost:?}"
    );
    // A file that was named and is not there: no other gateway is asked in its place.
    fs::remove_file(gateway.dir().join("countersign.yaml")).unwrap();
    let gone = ask(&["cert", "list"]);
    assert_eq!(gone.code, 6, "{gone:?}");
    assert!(gone.stderr.contains("--admin-socket"), "{gone:?}");
}
