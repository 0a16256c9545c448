//! A copy of the store, complete and readable by its owner alone, made while a gateway uses the store.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::super::error::Error;
use super::error::Refusal;
use super::file;

/// Copies the store at `path` to `to`, which must not exist. A partial copy is removed.
pub fn copy(path: &Path, to: &Path) -> Result<(), Error> {
    let store = file::open_other(path)?;
    let name = to.to_str().ok_or_else(|| Refusal::File {
        path: to.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8"),
    })?;
    let unusable = |source: io::Error| Refusal::File {
        path: to.to_owned(),
        source,
    };
    // SQLite fills an existing, empty file; one that it creates itself would have the umask's mode.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(unusable)?;
    let copied = store
        .execute("VACUUM INTO ?", [name])
        .map_err(Error::from)
        .and_then(|_| {
            let synced = File::open(to).and_then(|file| file.sync_all());
            synced.map_err(|source| unusable(source).into())
        });
    if copied.is_err() {
        let _ = fs::remove_file(to);
    }
    copied
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::backend::SqliteStore;
    use super::*;
    use crate::store::repository::Store as _;

    #[test]
    fn a_copy_opens_as_a_store_and_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let store = SqliteStore::open(&at("store.db")).unwrap();
        copy(&at("store.db"), &at("copy.db")).unwrap();
        let mode = fs::metadata(at("copy.db")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let copied = SqliteStore::open(&at("copy.db")).unwrap();
        assert_eq!(copied.revision().unwrap(), store.revision().unwrap());
        copy(&at("store.db"), &at("copy.db")).unwrap_err();
        fs::write(
            at("other"),
            "not a store, and longer than a header; ".repeat(9),
        )
        .unwrap();
        copy(&at("other"), &at("new.db")).unwrap_err();
        copy(&at("missing"), &at("new.db")).unwrap_err();
        assert!(!at("new.db").exists());
    }
}
