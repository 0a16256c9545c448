//! The locks that allow one gateway per data directory and per store; the kernel releases them when the process ends.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::config::root::Config;

/// The lock file in a data directory.
const FILE: &str = "gateway.lock";

/// The suffix that makes the name of a store's lock file.
const STORE_SUFFIX: &str = ".lock";

/// The maximum size of a lock file; it holds a process number and a host name, which are shorter.
const HOLDER_BYTES_MAX: u64 = 512;

/// The locks of a running gateway.
#[derive(Debug)]
pub struct Locks {
    /// `None` if every part of the gateway has a path elsewhere.
    _directory: Option<DirectoryLock>,
    _store: File,
}

/// The lock of a data directory.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// The error that another gateway holds the lock.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what} {} is in use by another gateway ({holder}); one gateway runs from a data directory and a store at a time: \
     stop that one, or give this one a data_directory and a store of its own",
    path.display()
)]
pub struct InUse {
    what: &'static str,
    path: PathBuf,
    holder: String,
}

impl Locks {
    /// Locks the data directory and the store of a configuration; creates the directory when there is none.
    pub fn take(config: &Config) -> anyhow::Result<Self> {
        let used = config.uses_data_directory();
        let directory = used.then(|| DirectoryLock::take(&config.data_directory()));
        Ok(Self {
            _directory: directory.transpose()?,
            _store: lock_store(&config.store_path())?,
        })
    }
}

impl DirectoryLock {
    /// Locks a data directory; creates it when there is none.
    pub fn take(directory: &Path) -> anyhow::Result<Self> {
        make_private(directory)
            .map_err(|error| may_not(error, directory))
            .with_context(|| format!("making {}", directory.display()))?;
        // The lock belongs to the file and not to its name, so other paths to the directory find it locked too.
        let file =
            lock(&directory.join(FILE), "the data directory", directory).map_err(|error| {
                match error.downcast::<io::Error>() {
                    Ok(error) => may_not(error, directory).context(format!(
                        "locking the data directory {}",
                        directory.display()
                    )),
                    Err(error) => error,
                }
            })?;
        Ok(Self { _file: file })
    }

    /// Locks the store as well, which may be elsewhere and be another directory's store too.
    pub fn with_store(self, store: &Path) -> anyhow::Result<Locks> {
        Ok(Locks {
            _directory: Some(self),
            _store: lock_store(store)?,
        })
    }
}

fn lock_store(store: &Path) -> anyhow::Result<File> {
    let mut name = resolved(store).into_os_string();
    name.push(STORE_SUFFIX);
    lock(Path::new(&name), "the store", store)
}

/// An error with its fix, for a directory that the user may not write to.
fn may_not(error: io::Error, directory: &Path) -> anyhow::Error {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    let error = anyhow::Error::from(error);
    if !denied {
        return error;
    }
    error.context(format!(
        "this user may not write in {}; set data_directory in the configuration, or COUNTERSIGN_DATA_DIRECTORY, to a \
         directory of this user",
        directory.display()
    ))
}

/// Creates a directory that only its owner can enter; an existing one is not changed.
pub fn make_private(directory: &Path) -> io::Result<()> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        made => made,
    }
}

/// The resolved path of a file, the same for all symbolic links to it.
fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn lock(file: &Path, what: &'static str, path: &Path) -> anyhow::Result<File> {
    let doing = || format!("locking {what} {} with {}", path.display(), file.display());
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file)
        .with_context(doing)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let holder = holder(&mut lock);
            return Err(InUse { what, path, holder }.into());
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(doing),
    }
    // The name is for the next gateway's message; the lock holds without it, on a full disk too.
    let _ = sign(&mut lock);
    Ok(lock)
}

/// Writes this process into the lock file, as its holder.
fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    write!(lock, "{}\n{}\n", std::process::id(), host.trim())
}

/// The holder of the lock, as it wrote into the file; a process number is meaningful on its own machine only.
fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let read = lock.take(HOLDER_BYTES_MAX).read_to_string(&mut text);
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse::<u32>().ok());
    match (read, pid, lines.next()) {
        (Ok(_), Some(pid), Some(host)) if !host.is_empty() => {
            format!("process {pid} on {}", host.escape_default())
        }
        (Ok(_), Some(pid), _) => format!("process {pid}"),
        _ => "its process number is not known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn in_use(result: anyhow::Result<impl Sized>) -> String {
        let error = result.err().expect("it is locked");
        assert!(error.downcast_ref::<InUse>().is_some(), "{error:#}");
        format!("{error:#}")
    }

    #[test]
    fn a_directory_is_locked_by_whatever_path() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let held = DirectoryLock::take(&data).unwrap();
        symlink(&data, root.path().join("link")).unwrap();
        fs::create_dir(root.path().join("other")).unwrap();
        for path in ["data", "link", "other/../data", "data/."] {
            let said = in_use(DirectoryLock::take(&root.path().join(path)));
            let process = format!("process {}", std::process::id());
            assert!(said.contains(&process), "{path}: {said}");
        }
        drop(held);
        DirectoryLock::take(&data).unwrap();
    }

    #[test]
    fn a_store_is_locked_whichever_directory_it_belongs_to() {
        let root = tempfile::tempdir().unwrap();
        let store = root.path().join("store.db");
        fs::write(&store, "").unwrap();
        symlink(&store, root.path().join("link.db")).unwrap();
        let take = |data: &str, store: &str| {
            DirectoryLock::take(&root.path().join(data))?.with_store(&root.path().join(store))
        };
        let held = take("a", "store.db").unwrap();
        for path in ["store.db", "link.db", "a/../store.db"] {
            let said = in_use(take("b", path));
            assert!(said.contains("the store"), "{path}: {said}");
        }
        drop(held);
        take("b", "link.db").unwrap();
    }

    #[test]
    fn a_directory_is_made_for_its_owner_alone_and_one_that_is_there_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let directory = root.path().join("a/b");
        make_private(&directory).unwrap();
        assert_eq!(mode(&directory), 0o700);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o750)).unwrap();
        make_private(&directory).unwrap();
        assert_eq!(mode(&directory), 0o750);
        fs::write(root.path().join("file"), "").unwrap();
        make_private(&root.path().join("file")).unwrap_err();
    }
}
