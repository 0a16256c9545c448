//! One gateway for each data directory and each store, and none that begins empty beside what is left of an earlier one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::gateway::{Circumstances, Gateway, config, config_with};
use crate::support::process::{Background, Finished, countersign, run};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

/// A configuration whose every part lies where it does by default.
fn by_default(more: &str) -> String {
    config_with("http://127.0.0.1:1", ROUTES, more)
        .replace("authority: { directory: authority }\n", "")
        .replace(", signing_key: token.key", "")
        .replace("store: { url: \"sqlite://store.db\" }\n", "")
}

/// The configuration of a second gateway, with a socket of its own.
fn second(data: &str, store: Option<&str>) -> String {
    let store = store.map_or_else(String::new, |store| {
        format!("\nstore: {{ url: \"sqlite://{store}\" }}")
    });
    by_default(&format!("data_directory: {data}{store}"))
        .replace("socket: admin.sock", "socket: second.sock")
}

fn serve(dir: &Path, text: &str) -> Finished {
    fs::write(dir.join("second.yaml"), text).unwrap();
    countersign(dir, &["serve", "--config", "second.yaml"])
}

#[test]
fn a_second_gateway_on_a_directory_or_a_store_does_not_start_and_names_the_first() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    fs::create_dir(&data).unwrap();
    let gateway = Gateway::start(&by_default(&format!("data_directory: {}", data.display())));
    let other = root.path().join("other");
    fs::create_dir(&other).unwrap();
    symlink(&data, other.join("link")).unwrap();
    symlink(data.join("countersign.db"), other.join("link.db")).unwrap();
    let absolute = data.to_str().unwrap();
    for (data, store, locked) in [
        (absolute, None, "the data directory"),
        (absolute, Some("elsewhere.db"), "the data directory"),
        ("../data", None, "the data directory"),
        ("link", None, "the data directory"),
        ("../other/../data/", None, "the data directory"),
        ("own", Some("../data/countersign.db"), "the store"),
        ("own", Some("link/countersign.db"), "the store"),
        ("own", Some("link.db"), "the store"),
    ] {
        let refused = serve(&other, &second(data, store));
        assert_eq!(refused.code, 5, "{data} {store:?}: {refused:?}");
        let said = &refused.stderr;
        assert!(said.contains(locked), "{data} {store:?}: {said}");
        let holder = format!("process {}", gateway.pid());
        assert!(said.contains(&holder), "{data} {store:?}: {said}");
    }
    assert!(
        !other.join("authority").exists() && !other.join("elsewhere.db").exists(),
        "nothing is made before the lock"
    );
    // Where every part has a place of its own, the directory is nobody's, and the first one does all that it did.
    let apart = config_with(
        "http://127.0.0.1:1",
        ROUTES,
        &format!("data_directory: {absolute}"),
    );
    drop(Gateway::start(&apart));
    assert_eq!(gateway.cli(&["app", "create", "acme"]).code, 0);
}

#[test]
fn a_lock_ends_with_its_process_however_that_ends() {
    let text = by_default("data_directory: .");
    let dir = Gateway::start(&text).kill();
    let left = fs::read_to_string(dir.path().join("gateway.lock")).unwrap();
    assert!(!left.is_empty(), "the file is left, and blocks nobody");
    let gateway = Gateway::start_in(dir, &text);
    let now = fs::read_to_string(gateway.dir().join("gateway.lock")).unwrap();
    assert!(now.starts_with(&gateway.pid().to_string()), "{now}");
}

#[test]
fn a_second_demo_in_a_directory_changes_nothing_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["demo", "--dir", "demo", "--listen", "127.0.0.1:0"];
    let first = [&args[..], &["--output", "json"]].concat();
    let binary = env!("CARGO_BIN_EXE_countersign");
    let _running = Background::start(dir.path(), binary, &first, &[]);
    let file = dir.path().join("demo/countersign.yaml");
    let before = fs::read_to_string(&file).unwrap();
    let refused = countersign(dir.path(), &[&args[..], &["--once"]].concat());
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("process "), "{refused:?}");
    let served = countersign(dir.path(), &["serve", "--config", "demo/countersign.yaml"]);
    assert_eq!(served.code, 5, "{served:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}

#[test]
fn no_store_is_begun_beside_what_is_left_unless_it_is_asked_for() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let gateway = Gateway::start(&text);
    let acme = gateway.enrol("acme");
    let dir = gateway.kill();
    for file in [
        "store.db",
        "store.db-wal",
        "store.db-shm",
        "store.db.exists",
    ] {
        let _ = fs::remove_file(dir.path().join(file));
    }
    // What a restored backup looks like when the store was left out of it, or the half of it.
    let mut dir = dir;
    for missing in [None, Some("token.key"), Some("authority")] {
        let away = dir.path().join("away");
        if let Some(missing) = missing {
            fs::rename(dir.path().join(missing), &away).unwrap();
        }
        let (code, log, back) = Gateway::try_start_in(dir, &text).expect_err("no store");
        assert_eq!(code, Some(1), "{missing:?}: {log}");
        for part in ["store.db", "backup", "--new-store"] {
            assert!(log.contains(part), "{missing:?}: {part}: {log}");
        }
        assert!(!back.path().join("store.db").exists(), "{missing:?}");
        if let Some(missing) = missing {
            assert!(!back.path().join(missing).exists(), "{missing} is not made");
            fs::rename(&away, back.path().join(missing)).unwrap();
        }
        dir = back;
    }
    let how = Circumstances {
        args: &["--new-store"],
        ..Circumstances::default()
    };
    let gateway = Gateway::start_by(dir, &text, how);
    assert!(gateway.log().contains("the store begins empty"));
    let partner = gateway.partner(&acme.certificate, &acme.key);
    assert_eq!(partner.get("/").reason(), "cert_unregistered");
    // The flag may stay: a store that was there and is lost is not replaced.
    let dir = gateway.kill();
    fs::rename(dir.path().join("store.db"), dir.path().join("lost.db")).unwrap();
    let (_, log, dir) = Gateway::try_start_by(dir, &text, how).expect_err("the store is lost");
    assert!(log.contains("store.db.exists"), "{log}");
    assert!(!dir.path().join("store.db").exists());
}

#[test]
fn a_first_start_that_failed_half_way_is_gone_on_with() {
    let text = config("http://127.0.0.1:1", ROUTES);
    // Files of 8 KiB at most: room for the authority and the key, and not for the store.
    let how = Circumstances {
        ulimit: Some("-S -f 16; trap '' XFSZ"),
        ..Circumstances::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let (_, log, dir) = Gateway::try_start_by(dir, &text, how).expect_err("no room for a store");
    assert!(log.contains("store.db"), "{log}");
    assert!(dir.path().join("authority/issuing.key").exists());
    let gateway = Gateway::start_in(dir, &text);
    assert!(!gateway.dir().join("store.db.unfinished").exists());
}

#[test]
fn the_directories_that_are_made_are_their_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let text = by_default("data_directory: new/data");
    let gateway = Gateway::start(&text);
    assert_eq!(mode(&gateway.dir().join("new/data")), 0o700);
    assert_eq!(mode(&gateway.dir().join("new/data/gateway.lock")), 0o600);
    let demo = ["demo", "--once", "--dir", "demo", "--listen", "127.0.0.1:0"];
    countersign(dir.path(), &demo).ok();
    assert_eq!(mode(&dir.path().join("demo")), 0o700);
    // One that the operator made stays as it is.
    fs::create_dir(dir.path().join("made")).unwrap();
    run(dir.path(), "chmod", &["750", "made"]).ok();
    let demo = ["demo", "--once", "--dir", "made", "--listen", "127.0.0.1:0"];
    countersign(dir.path(), &demo).ok();
    assert_eq!(mode(&dir.path().join("made")), 0o750);
}
