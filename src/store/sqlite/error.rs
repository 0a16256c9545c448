//! Errors of SQLite and the file system, as the store's errors.

use std::io;
use std::path::PathBuf;

use rusqlite::{ErrorCode, ffi};

use super::super::error::{Conflict, Error};

/// A file that is not opened as a store.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{} is empty or cut short; a store never is", path.display())]
    CutShort { path: PathBuf },
    #[error("{} is damaged: {finding}", path.display())]
    Damaged { path: PathBuf, finding: String },
    #[error("{} cannot be used", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is a database of another program", path.display())]
    Foreign { path: PathBuf },
    #[error(
        "the store has schema {found}, and this version knows {known}: a newer version wrote it"
    )]
    Newer { found: u32, known: u32 },
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} cannot keep a write-ahead log where it is", path.display())]
    NoWriteAheadLog { path: PathBuf },
    #[error("migration {version} of the store's schema is not the one that this version knows")]
    Rewritten { version: u32 },
    #[error("{} cannot be read as a database", path.display())]
    Unreadable {
        path: PathBuf,
        source: rusqlite::Error,
    },
}

/// An opened store that cannot be used now.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub(super) struct Trouble {
    cause: &'static str,
    source: rusqlite::Error,
}

/// The part of the system that an operator has to check.
fn cause(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => "the store's file cannot be opened",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process has locked the store"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => "the store's file is damaged",
        Some(ErrorCode::DiskFull) => "the disk that holds the store is full",
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            "the store's file or its file system is read-only"
        }
        Some(ErrorCode::SystemIoFailure) => {
            "the disk that holds the store reports an error: a quota or a limit on file sizes is reached, or it is broken"
        }
        _ => "the store does not answer",
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::unavailable(refusal)
    }
}

/// Constraint errors that only a change can cause belong to the change; everything else is a failure of the store.
impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error().map(|error| error.extended_code) {
            Some(ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE) => {
                Conflict::Duplicate.into()
            }
            Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Self::Missing,
            _ => Self::unavailable(Trouble {
                cause: cause(&error),
                source: error,
            }),
        }
    }
}
