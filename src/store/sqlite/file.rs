//! The database file: created whole, opened only when it is sound, readable by its owner alone.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::num::NonZeroU64;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Advice, fadvise};

use super::super::error::Error;
use super::error::Refusal;
use super::migrate;

/// "CSGN": distinguishes our files from other programs' (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x4353_474e;

/// The size of the header of a SQLite file; the file is always longer.
const HEADER_BYTES: u64 = 100;

/// The first bytes of every database (SQLite's file format, 1.3.1).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The maximum wait for another process that writes, for example a backup; then the change is refused.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// The size of one read-ahead request; of larger ones the kernel ignores the end.
const AHEAD_BYTES: NonZeroU64 = NonZeroU64::new(1 << 20).expect("it is more than nothing");

/// Statements kept prepared by each connection: all that the room has.
const STATEMENTS_MAX: usize = 96;

/// Opens the connection that writes, with the file checked and its schema up to date. Creates the file when there is
/// none.
///
/// The check reads the whole file, so `meanwhile` runs beside it. Its result is returned only once the file has passed
/// the check.
pub(super) fn open_writer<T: Send>(
    path: &Path,
    meanwhile: impl FnOnce() -> T + Send,
) -> Result<(Connection, T), Error> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
        Err(source) => return Err(unusable(path, source).into()),
        Ok(_) => {}
    }
    let whole = inspect(path)?;
    keep_private(path).map_err(|source| unusable(path, source))?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    is_ours(&connection, path)?;
    let (checked, read) = thread::scope(|scope| {
        scope.spawn(|| read_ahead(path));
        let read = scope.spawn(meanwhile);
        (check(&connection, path, whole), read.join())
    });
    checked?;
    let read = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(|source| unreadable(path, source))?;
    if mode != "wal" {
        let path = path.to_owned();
        return Err(Refusal::NoWriteAheadLog { path }.into());
    }
    migrate::run(&mut connection)?;
    Ok((connection, read))
}

/// Checks that the file at `path` looks like a store, if there is one. Changes nothing.
pub(super) fn examine(path: &Path) -> Result<(), Error> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(unusable(path, source).into()),
        Ok(_) => Ok(inspect(path).map(|_| ())?),
    }
}

/// Opens a connection that only reads; [`open_writer`] has checked the file before.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Error> {
    Ok(connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

/// Opens a connection that only reads a store that another process may have open; refuses a file that is no store.
pub(super) fn open_other(path: &Path) -> Result<Connection, Error> {
    inspect(path)?;
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    is_ours(&connection, path)?;
    Ok(connection)
}

/// Opens a database that lives as long as its connection.
#[cfg(test)]
pub(super) fn open_in_memory() -> Result<Connection, Error> {
    let mut connection = Connection::open_in_memory()?;
    configure(&connection)?;
    migrate::run(&mut connection)?;
    Ok(connection)
}

/// Creates the database beside its place and puts it there when it is whole, so that an empty or partial file was
/// damaged, and never just begun.
fn create(path: &Path) -> Result<(), Error> {
    let draft = beside(path, &format!(".new-{}", std::process::id()));
    let made = draw_up(&draft)
        .and_then(|()| put_in_place(&draft, path).map_err(|source| unusable(path, source).into()));
    // Linked under its own name by now, or useless.
    let _ = fs::remove_file(&draft);
    made
}

fn draw_up(draft: &Path) -> Result<(), Error> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(unusable(draft, error).into());
        }
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)
        .map_err(|source| unusable(draft, source))?;
    let mut connection = connect(draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    migrate::run(&mut connection)?;
    Ok(connection.close().map_err(|(_, error)| error)?)
}

/// A link instead of a rename: it never replaces a store that another process has made meanwhile.
fn put_in_place(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(directory(path))?.sync_all(),
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Refuses a file that SQLite would take for a new database, or would report in fewer words. Returns the file's length,
/// unless a log beside it holds pages of it.
fn inspect(path: &Path) -> Result<Option<u64>, Refusal> {
    let metadata = fs::metadata(path).map_err(|source| unusable(path, source))?;
    if !metadata.is_file() {
        let path = path.to_owned();
        return Err(Refusal::NotAFile { path });
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|source| unusable(path, source))?;
    if metadata.len() < HEADER_BYTES {
        let path = path.to_owned();
        return Err(Refusal::CutShort { path });
    }
    // SQLite would drop a log beside a file like this, and with it changes that a repaired file could have had.
    let mut magic = [0_u8; MAGIC.len()];
    file.read_exact(&mut magic)
        .map_err(|source| unusable(path, source))?;
    if &magic != MAGIC {
        return Err(Refusal::Damaged {
            path: path.to_owned(),
            finding: "file is not a database".to_owned(),
        });
    }
    let logged = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    Ok((!logged).then_some(metadata.len()))
}

/// Removes others' permissions from the file and from the files that SQLite keeps beside it.
fn keep_private(path: &Path) -> io::Result<()> {
    for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        match fs::metadata(&file) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                fs::set_permissions(&file, Permissions::from_mode(0o600))?;
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Announces to the kernel that the whole file will be read, piece by piece: it lies on the disk in this order. In the
/// order of its tables the reads would be scattered and ten times as slow. A failure costs only that time.
fn read_ahead(path: &Path) {
    let Ok(file) = File::open(path) else {
        return;
    };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut place = 0;
    while place < length && fadvise(&file, place, Some(AHEAD_BYTES), Advice::WillNeed).is_ok() {
        place += AHEAD_BYTES.get();
    }
}

fn is_ours(connection: &Connection, path: &Path) -> Result<(), Error> {
    let application: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|source| unreadable(path, source))?;
    if application == APPLICATION_ID {
        return Ok(());
    }
    let path = path.to_owned();
    Err(Refusal::Foreign { path }.into())
}

/// Reads every page once: the start finds a damaged file, and not the request that needs it.
///
/// SQLite reads the missing end of a last page as zeros, so `length` is compared too.
fn check(connection: &Connection, path: &Path, length: Option<u64>) -> Result<(), Error> {
    let unreadable = |source| unreadable(path, source);
    let finding: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(unreadable)?;
    let bytes: i64 = connection
        .query_row(
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
            [],
            |row| row.get(0),
        )
        .map_err(unreadable)?;
    if length.is_some_and(|length| i64::try_from(length).is_ok_and(|length| length < bytes)) {
        let path = path.to_owned();
        return Err(Refusal::CutShort { path }.into());
    }
    if finding != "ok" {
        let path = path.to_owned();
        return Err(Refusal::Damaged { path, finding }.into());
    }
    Ok(())
}

/// Opens a database. A path is not a URI: without the flag for it, SQLite parses no URI.
fn connect(path: &Path, access: OpenFlags) -> Result<Connection, Refusal> {
    Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .and_then(|connection| configure(&connection).map(|()| connection))
        .map_err(|source| unreadable(path, source))
}

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY_MAX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "foreign_keys", true)?;
    // An acknowledged change survives a loss of power, and not only of the process.
    connection.pragma_update(None, "synchronous", "full")?;
    // A file that an attacker prepared runs no code, and malformed pages are refused.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

fn unusable(path: &Path, source: io::Error) -> Refusal {
    Refusal::File {
        path: path.to_owned(),
        source,
    }
}

fn unreadable(path: &Path, source: rusqlite::Error) -> Refusal {
    Refusal::Unreadable {
        path: path.to_owned(),
        source,
    }
}
