//! A store that cannot be written: the operator reads why, both signals say so, and both say when it is over.

use std::fs;

use crate::support::eventually::eventually;
use crate::support::gateway::{Circumstances, Gateway, config};
use crate::support::process::run;
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

/// Waits until the metric and the health page both say so.
fn wait_for_store(gateway: &Gateway, up: bool) {
    eventually("metric and health page agree on the store", || {
        let (status, page) = gateway.ops_get("/readyz?verbose");
        let page_up = page.contains("store: ok");
        let metric_up = gateway.count("countersign_store_up") == 1;
        assert_eq!(status, 200, "traffic flows: {page}");
        (page_up == up && metric_up == up).then_some(())
    });
}

#[test]
fn a_store_that_cannot_grow_is_told_of_and_comes_back() {
    let echo = Echo::start();
    // Files of 4 MiB at most, which is lowered and raised again while it runs; a write beyond is an error.
    let how = Circumstances {
        ulimit: Some("-S -f 8192; trap '' XFSZ"),
        ..Circumstances::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_by(dir, &config(&echo.url(), ROUTES), how);
    let acme = gateway.enrol("acme");
    wait_for_store(&gateway, true);
    let limit = |bytes: &str| {
        let (pid, size) = (gateway.pid().to_string(), format!("--fsize={bytes}:"));
        run(gateway.dir(), "prlimit", &["--pid", &pid, &size]).ok();
    };
    let log = fs::metadata(gateway.dir().join("store.db-wal"))
        .unwrap()
        .len();
    limit(&log.to_string());
    for command in [
        &["app", "create", "zenith"][..],
        &["key", "create", "--app", "acme"],
        &["cert", "revoke", &acme.id, "--yes"],
    ] {
        let refused = gateway.cli(command);
        assert_eq!(refused.code, 1, "{command:?}: {refused:?}");
        let said = &refused.stderr;
        assert!(said.contains("disk") && said.contains("limit"), "{said}");
        assert!(said.contains("nothing was changed"), "{said}");
        assert!(!said.contains("does not answer"), "{said}");
    }
    wait_for_store(&gateway, false);
    assert_eq!(acme.partner.get("/").status, 200);
    assert!(
        gateway.cli(&["app", "list"]).ok().contains("acme"),
        "what is stored can be read"
    );
    limit("4194304");
    wait_for_store(&gateway, true);
    gateway.cli(&["app", "create", "zenith"]).ok();
    let log = gateway.log();
    assert_eq!(log.matches("the store cannot be used").count(), 1, "{log}");
    assert_eq!(
        log.matches("the store can be used again").count(),
        1,
        "{log}"
    );
}

#[test]
fn a_store_that_is_locked_by_another_process_is_told_of() {
    let gateway = Gateway::start(&config("http://127.0.0.1:1", ROUTES));
    let lock = rusqlite::Connection::open(gateway.dir().join("store.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = gateway.cli(&["app", "create", "acme"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("another process has locked the store"),
        "{refused:?}"
    );
    wait_for_store(&gateway, false);
    lock.execute_batch("ROLLBACK").unwrap();
    wait_for_store(&gateway, true);
}
