//! Files that a command writes: opened before the gateway is asked, never taken from another file, never lost.

use std::fs;
use std::path::Path;

use crate::support::gateway::{Gateway, config};
use crate::support::pki;
use crate::support::process::Finished;

const ROUTES: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

/// Every command that makes something and writes it into a file.
const COMMANDS: [&[&str]; 4] = [
    &["cert", "sign", "--app", "acme", "--csr", "acme.csr", "-o"],
    &["key", "create", "--app", "acme", "--secret-file"],
    &["key", "rotate", "KEY", "--secret-file"],
    &[
        "admin-token",
        "create",
        "ci",
        "--role",
        "viewer",
        "--secret-file",
    ],
];

/// A gateway with an App that has a request `acme.csr` and a key, and the commands for it.
fn gateway() -> (Gateway, Vec<Vec<String>>) {
    let gateway = Gateway::start(&config("http://127.0.0.1:1", ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    pki::request(gateway.dir(), "acme");
    let (key, _) = gateway.key("acme", &[]);
    let fill = |word: &&str| word.replace("KEY", &key);
    let commands = COMMANDS.map(|command| command.iter().map(fill).collect());
    (gateway, commands.into())
}

fn ask(gateway: &Gateway, command: &[String], file: &Path, more: &[&str]) -> Finished {
    let command = command.iter().map(String::as_str);
    let all: Vec<&str> = command
        .chain([file.to_str().unwrap()])
        .chain(more.iter().copied())
        .collect();
    gateway.cli(&all)
}

/// How many changes there were.
fn changes(gateway: &Gateway) -> usize {
    let events = gateway.cli_json(&["audit", "list", "--limit", "1000"]);
    events.as_array().unwrap().len()
}

#[test]
fn a_file_that_is_there_or_cannot_be_made_stops_the_command_before_it_changes_anything() {
    let (gateway, commands) = gateway();
    let dir = gateway.dir();
    let precious = ["acme.csr", "acme.key", "authority/root.pem"];
    let before = precious.map(|file| fs::read(dir.join(file)).unwrap());
    fs::create_dir(dir.join("folder")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.join("dangling")).unwrap();
    let made = changes(&gateway);
    for command in &commands {
        for file in
            precious
                .iter()
                .copied()
                .chain(["folder", "dangling", "no/such/file", "acme.csr/x"])
        {
            let refused = ask(&gateway, command, &dir.join(file), &[]);
            assert_eq!(refused.code, 1, "{command:?} {file}: {refused:?}");
            let said = &refused.stderr;
            assert!(said.contains(file), "{command:?} {file}: {said}");
            assert!(
                said.contains("nothing was asked"),
                "{command:?} {file}: {said}"
            );
        }
    }
    assert_eq!(changes(&gateway), made, "nothing was made");
    let after = precious.map(|file| fs::read(dir.join(file)).unwrap());
    assert!(before == after, "nothing was overwritten");
    assert!(!dir.join("nowhere").exists());
}

#[test]
fn a_file_is_replaced_when_that_is_asked_for() {
    let (gateway, commands) = gateway();
    for command in &commands {
        let file = gateway.dir().join("out");
        fs::write(&file, "old").unwrap();
        assert_eq!(
            ask(&gateway, command, &file, &["--force"]).code,
            0,
            "{command:?}"
        );
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.ends_with('\n') && !text.contains("old"),
            "{command:?}: {text}"
        );
        fs::remove_file(&file).unwrap();
        // A key is rotated once.
        if command.iter().any(|word| word == "rotate") {
            continue;
        }
        assert_eq!(ask(&gateway, command, &file, &[]).code, 0, "{command:?}");
    }
}

#[test]
fn what_cannot_be_written_after_all_is_on_stdout() {
    let (gateway, commands) = gateway();
    for (command, mark) in commands.iter().zip([
        "-----BEGIN CERTIFICATE-----",
        "sk_live_",
        "sk_live_",
        "cs_admin_",
    ]) {
        for format in ["table", "json"] {
            // A device that is always full: it can be opened, and nothing can be written to it.
            let more = ["--output", format];
            let lost = ask(&gateway, command, Path::new("/dev/full"), &more);
            assert_eq!(lost.code, 1, "{command:?}: {lost:?}");
            assert!(lost.stdout.contains(mark), "{command:?}: {lost:?}");
            assert!(
                lost.stderr.contains("No space left"),
                "{command:?}: {lost:?}"
            );
            assert!(lost.stderr.contains("stdout"), "{command:?}: {lost:?}");
            if command.iter().any(|word| word == "rotate") {
                break;
            }
        }
    }
}

#[test]
fn a_refused_command_leaves_no_file_behind() {
    let (gateway, _) = gateway();
    for command in [
        &[
            "cert", "sign", "--app", "nobody", "--csr", "acme.csr", "-o", "out",
        ][..],
        &["key", "create", "--app", "nobody", "--secret-file", "out"],
        &["key", "rotate", "key_01", "--secret-file", "out"],
    ] {
        assert_ne!(gateway.cli(command).code, 0, "{command:?}");
        assert!(!gateway.dir().join("out").exists(), "{command:?}");
    }
    // A file of one's own that is missing is not what the gateway calls "not found".
    let missing = gateway.cli(&["cert", "sign", "--app", "acme", "--csr", "absent.csr"]);
    assert_eq!(missing.code, 6, "{missing:?}");
    assert!(missing.stderr.contains("absent.csr"), "{missing:?}");
}

#[test]
fn a_backup_of_the_store_is_whole_and_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (gateway, _) = gateway();
    let backup = |file: &str| {
        let args = ["store", "backup", file, "--config", "countersign.yaml"];
        crate::support::process::countersign(gateway.dir(), &args)
    };
    assert_eq!(backup("copy.db").code, 0);
    let copy = gateway.dir().join("copy.db");
    let mode = fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let apps: u32 = rusqlite::Connection::open(&copy)
        .unwrap()
        .query_row("SELECT count(*) FROM apps", [], |row| row.get(0))
        .unwrap();
    assert_eq!(apps, 1);
    let before = fs::read(&copy).unwrap();
    for taken in ["copy.db", "acme.csr", "no/such/file"] {
        assert_eq!(backup(taken).code, 1, "{taken}");
    }
    assert!(before == fs::read(&copy).unwrap());
    // It comes back.
    let dir = gateway.kill();
    for file in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(dir.path().join(file));
    }
    fs::rename(dir.path().join("copy.db"), dir.path().join("store.db")).unwrap();
    let gateway = Gateway::start_in(dir, &config("http://127.0.0.1:1", ROUTES));
    gateway.cli(&["app", "get", "acme"]).ok();
}
