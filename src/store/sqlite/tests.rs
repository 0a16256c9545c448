//! Tests of SQLite beyond the contract: files, damage, several processes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, thread};

use rusqlite::Connection;

use super::backend::SqliteStore;
use crate::domain::app::{App, AppState};
use crate::domain::credential::RevocationReason;
use crate::domain::listing::{AuditFilter, Page};
use crate::store::act::Act;
use crate::store::contract::{app, certificate, done, event, key, new, promises, revoked, set};
use crate::store::error::Error;
use crate::store::repository::Store;
use crate::store::session_contract::session_promises;
use crate::store::ticket_contract::ticket_promises;

mod in_memory {
    use super::*;

    promises!((SqliteStore::in_memory().unwrap(), ()));
    ticket_promises!((SqliteStore::in_memory().unwrap(), ()));
    session_promises!((SqliteStore::in_memory().unwrap(), ()));
}

mod in_a_file {
    use super::*;

    promises!({
        let place = Place::new();
        (place.open(), place)
    });
    ticket_promises!({
        let place = Place::new();
        (place.open(), place)
    });
    session_promises!({
        let place = Place::new();
        (place.open(), place)
    });
}

/// A directory of its own with room for a store.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("countersign.db")
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path()).unwrap()
    }

    /// The refusal to open the file, with all causes.
    fn refusal(&self) -> String {
        refusal(&self.path())
    }

    /// The database as another program sees it.
    fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// A store with an App, a certificate and a key, closed.
    fn filled() -> Self {
        let place = Self::new();
        fill(&place.open());
        place
    }
}

fn fill(store: &SqliteStore) {
    done(store, &[new(app(1))]);
    done(store, &[new(certificate(1, 1)), new(key(1, 1))]);
}

fn refusal(path: &Path) -> String {
    let error = SqliteStore::open(path).unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[test]
fn a_store_that_is_opened_again_has_everything() {
    let place = Place::filled();
    let before = place.open().load().unwrap();
    let after = place.open().load().unwrap();
    assert_eq!(after, before);
    assert_eq!(after.revision, 2);
    assert_eq!((after.apps.len(), after.certificates.len()), (1, 1));
    let certificate = certificate(1, 1);
    let store = place.open();
    assert_eq!(
        store.certificate(certificate.id).unwrap(),
        Some(certificate)
    );
    let events = store.audit(&AuditFilter::default(), &Page::first(9));
    assert_eq!(events.unwrap().len(), 2);
}

#[test]
fn what_another_process_changes_after_the_opening_is_loaded() {
    let place = Place::filled();
    let [store, other] = [place.open(), place.open()];
    done(&other, &[new(app(2))]);
    let contents = store.load().unwrap();
    assert_eq!((contents.revision, contents.apps.len()), (3, 2));
    assert_eq!(store.load().unwrap(), contents);
}

#[test]
fn what_was_acknowledged_is_there_when_the_process_never_closed_its_store() {
    let place = Place::new();
    let store = place.open();
    fill(&store);
    // The state after a kill: the database and the log beside it, never checkpointed.
    let copy = Place::new();
    for suffix in ["", "-wal"] {
        let name = |place: &Place| format!("{}{suffix}", place.path().display());
        fs::copy(name(&place), name(&copy)).unwrap();
    }
    assert_eq!(copy.open().load().unwrap(), store.load().unwrap());
}

#[test]
fn a_log_that_ends_in_the_middle_of_a_commit_loses_that_commit_only() {
    let place = Place::new();
    let store = place.open();
    fill(&store);
    let acknowledged = store.load().unwrap();
    let wal = |place: &Place| format!("{}-wal", place.path().display());
    let length = fs::metadata(wal(&place)).unwrap().len();
    done(&store, &[new(app(2))]);
    let log = fs::read(wal(&place)).unwrap();
    let length = usize::try_from(length).unwrap();
    for cut in [length, length + 100, log.len() - 1] {
        let copy = Place::new();
        fs::copy(place.path(), copy.path()).unwrap();
        fs::write(wal(&copy), &log[..cut]).unwrap();
        assert_eq!(copy.open().load().unwrap(), acknowledged, "{cut}");
    }
}

#[test]
fn a_group_whose_commit_was_cut_short_is_lost_as_a_whole() {
    let place = Place::new();
    let store = place.open();
    fill(&store);
    let acknowledged = store.load().unwrap();
    let wal = |place: &Place| format!("{}-wal", place.path().display());
    let length = fs::metadata(wal(&place)).unwrap().len();
    let group = (2..66).map(|number| Act {
        changes: vec![new(app(number))],
        event: event(),
    });
    let group: Vec<Act> = group.collect();
    store.change(acknowledged.revision, &group).unwrap();
    let log = fs::read(wal(&place)).unwrap();
    let length = usize::try_from(length).unwrap();
    for (cut, apps) in [
        (length + 4096, 1),
        (usize::midpoint(length, log.len()), 1),
        (log.len() - 1, 1),
        (log.len(), 65),
    ] {
        let copy = Place::new();
        fs::copy(place.path(), copy.path()).unwrap();
        fs::write(wal(&copy), &log[..cut]).unwrap();
        let store = copy.open();
        let revision = acknowledged.revision + apps - 1;
        assert_eq!(store.revision().unwrap(), revision, "{cut}");
        assert_eq!(store.load().unwrap().apps.len() as u64, apps, "{cut}");
    }
}

#[test]
fn two_processes_may_change_one_store() {
    let place = Place::new();
    let stores = [place.open(), place.open()];
    thread::scope(|scope| {
        for (store, first) in stores.iter().zip([0, 10]) {
            scope.spawn(move || {
                for number in first..first + 10 {
                    done(store, &[new(app(number))]);
                }
            });
        }
    });
    for store in &stores {
        assert_eq!(store.revision().unwrap(), 20);
        assert_eq!(store.load().unwrap().apps.len(), 20);
    }
}

#[test]
fn reading_does_not_wait_for_a_change() {
    let place = Place::filled();
    let store = place.open();
    let other = place.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other.execute("UPDATE revision SET value = 99", []).unwrap();
    assert_eq!(store.revision().unwrap(), 2);
    assert_eq!(store.load().unwrap().revision, 2);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(store.revision().unwrap(), 99);
}

#[test]
fn only_the_owner_reads_the_files() {
    let place = Place::new();
    let store = place.open();
    fill(&store);
    let modes = || {
        let files = fs::read_dir(place.directory.path()).unwrap();
        let modes = files.map(|file| file.unwrap().metadata().unwrap().permissions().mode());
        modes.map(|mode| mode & 0o777).collect::<Vec<_>>()
    };
    assert_eq!(modes(), [0o600; 3]);
    drop(store);
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let _store = place.open();
    assert_eq!(modes(), [0o600; 3]);
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil); 6] = [
        ("empty or cut short", |path| {
            fs::write(path, "").unwrap();
        }),
        ("file is not a database", |path| {
            fs::write(path, "garbage ".repeat(4096)).unwrap();
        }),
        ("empty or cut short", |path| {
            fs::write(path, "short").unwrap();
        }),
        ("not a regular file", |path| fs::create_dir(path).unwrap()),
        ("another program", |path| {
            let other = Connection::open(path).unwrap();
            other.execute_batch("CREATE TABLE apps (x)").unwrap();
        }),
        ("cannot be used", |path| {
            std::os::unix::fs::symlink("/nonexistent/countersign.db", path).unwrap();
        }),
    ];
    for (expected, spoil) in cases {
        let place = Place::new();
        spoil(&place.path());
        let before = fs::read(place.path()).ok();
        let refusal = place.refusal();
        assert!(refusal.contains(expected), "{expected}: {refusal}");
        assert_eq!(fs::read(place.path()).ok(), before, "{expected}");
        let files = fs::read_dir(place.directory.path()).unwrap();
        assert_eq!(files.count(), 1, "{expected}: something stays behind");
    }
}

#[test]
fn a_store_needs_its_directory() {
    let place = Place::new();
    let path = place.directory.path().join("nowhere/countersign.db");
    assert!(refusal(&path).contains("cannot be used"));
    assert!(refusal(Path::new("/proc/version/countersign.db")).contains("cannot be used"));
}

#[test]
fn a_truncated_store_is_refused() {
    let place = Place::filled();
    let whole = fs::read(place.path()).unwrap();
    assert!(whole.len() > 8192);
    for length in [
        1,
        50,
        99,
        100,
        1000,
        4095,
        4096,
        8192,
        whole.len() - 4096,
        whole.len() - 1,
    ] {
        fs::write(place.path(), &whole[..length]).unwrap();
        let refusal = place.refusal();
        assert!(
            ["damaged", "cannot be read", "cut short"]
                .iter()
                .any(|word| refusal.contains(word)),
            "{length}: {refusal}"
        );
    }
    fs::write(place.path(), &whole).unwrap();
    place.open();
}

#[test]
fn a_store_with_overwritten_pages_is_refused() {
    let place = Place::filled();
    let whole = fs::read(place.path()).unwrap();
    for page in 1..whole.len() / 4096 {
        let mut spoilt = whole.clone();
        spoilt[page * 4096..(page + 1) * 4096].fill(0xaa);
        fs::write(place.path(), &spoilt).unwrap();
        let refusal = place.refusal();
        assert!(
            refusal.contains("damaged") || refusal.contains("cannot be read"),
            "{page}: {refusal}"
        );
    }
}

#[test]
fn a_newer_or_edited_schema_is_refused() {
    let place = Place::filled();
    let other = place.raw();
    let newer = "INSERT INTO migrations (version, name, checksum) VALUES (99, 'later', 0)";
    other.execute(newer, []).unwrap();
    assert!(place.refusal().contains("newer version"));
    let edited = "DELETE FROM migrations WHERE version = 99; UPDATE migrations SET checksum = 0";
    other.execute_batch(edited).unwrap();
    assert!(place.refusal().contains("migration 1"));
}

#[test]
fn an_interrupted_beginning_is_begun_again() {
    let place = Place::new();
    let draft = format!("{}.new-{}", place.path().display(), std::process::id());
    fs::write(&draft, "half").unwrap();
    fill(&place.open());
    assert!(!Path::new(&draft).exists());
    assert_eq!(place.open().revision().unwrap(), 2);
}

#[test]
fn the_audit_trail_cannot_be_rewritten() {
    let place = Place::filled();
    for attempt in ["DELETE FROM audit", "UPDATE audit SET actor = 'nobody'"] {
        let error = place.raw().execute(attempt, []).unwrap_err();
        assert!(error.to_string().contains("append-only"), "{attempt}");
    }
}

#[test]
fn values_that_nobody_can_read_are_named() {
    let (crt, app_id) = (certificate(1, 1).id.to_string(), app(1).id.to_string());
    let key_id = key(1, 1).id.to_string();
    for (table, column, value, row) in [
        ("apps", "name", "'Not A Name'", &app_id),
        ("apps", "state", "'asleep'", &app_id),
        ("certificates", "serial", "x''", &crt),
        ("certificates", "fingerprint", "x'0102'", &crt),
        ("certificates", "state", "'activ'", &crt),
        ("certificates", "app", "x'01'", &crt),
        ("keys", "scopes", "'a\"b'", &key_id),
        ("keys", "networks", "'10.0.0.0/99'", &key_id),
        ("keys", "digest", "x'00'", &key_id),
        ("keys", "state", "'gone'", &key_id),
        ("revision", "value", "-1", &"the only row".to_owned()),
    ] {
        let place = Place::filled();
        let store = place.open();
        let spoil = format!("PRAGMA foreign_keys = off; UPDATE {table} SET {column} = {value}");
        store.load().unwrap();
        place.raw().execute_batch(&spoil).unwrap();
        for store in [store, place.open()] {
            check_corrupt(&store.load().unwrap_err(), table, column, row);
        }
    }
}

#[test]
fn documents_and_details_that_nobody_can_read_are_named() {
    let place = Place::filled();
    let store = place.open();
    let certificate = certificate(1, 1);
    let lose = "DELETE FROM certificate_documents";
    place.raw().execute_batch(lose).unwrap();
    check_corrupt(
        &store.certificate(certificate.id).unwrap_err(),
        "certificate_documents",
        "pem",
        &certificate.id.to_string(),
    );
    // Requests do not need the document, and traffic goes on.
    assert_eq!(store.load().unwrap().certificates.len(), 1);

    let spoil = "DROP TRIGGER audit_is_never_rewritten; UPDATE audit SET detail = '{'";
    place.raw().execute_batch(spoil).unwrap();
    let error = store.audit(&AuditFilter::default(), &Page::first(1));
    assert!(matches!(
        error,
        Err(Error::Corrupt {
            table: "audit",
            column: "detail",
            ..
        })
    ));
}

fn check_corrupt(error: &Error, in_table: &str, in_column: &str, of_row: &str) {
    let Error::Corrupt { table, column, row } = error else {
        panic!("{in_table}.{in_column}: {error:?}")
    };
    assert_eq!(
        (*table, *column, row.as_str()),
        (in_table, in_column, of_row)
    );
}

#[test]
fn a_change_that_cannot_be_written_says_so_and_changes_nothing() {
    let place = Place::filled();
    let store = place.open();
    let before = store.load().unwrap();
    let break_it =
        "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    place.raw().execute_batch(break_it).unwrap();
    let gone = App {
        state: AppState::Revoked,
        ..app(1)
    };
    let ended = revoked(certificate(1, 1), RevocationReason::KeyCompromise);
    let changes = [set(gone), set(ended)];
    let act = Act {
        changes: changes.to_vec(),
        event: event(),
    };
    let error = store.change(before.revision, &[act]).unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert_eq!(store.load().unwrap(), before);
    place.raw().execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(done(&store, &changes), before.revision + 1);
}
