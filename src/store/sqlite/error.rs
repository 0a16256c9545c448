//! What SQLite and the file system say, in the store's words.

use std::io;
use std::path::PathBuf;

use rusqlite::ffi;

use super::super::error::{Conflict, Error};

/// Why a file is not opened as a store.
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

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Unavailable(Box::new(refusal))
    }
}

/// Constraints that only a change can break tell the change's author; everything else is the store's own trouble.
impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error().map(|error| error.extended_code) {
            Some(ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE) => {
                Conflict::Duplicate.into()
            }
            Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Self::Missing,
            _ => Self::Unavailable(Box::new(error)),
        }
    }
}
