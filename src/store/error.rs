//! Failures of the store.

use std::sync::Arc;

/// A failure of the store; nothing has changed then. Changes that were stored together share it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A conflict of the change with the stored state.
    #[error("the change conflicts with what is stored")]
    Conflict(#[source] Conflict),
    /// A stored value that cannot be parsed. Nothing is guessed in its place.
    #[error("the stored value {table}.{column} of {row} is corrupt")]
    Corrupt {
        table: &'static str,
        column: &'static str,
        /// The row's id, as far as it can be read.
        row: String,
    },
    /// The object of the change, or the App that it belongs to, is not stored.
    #[error("the object to change is not stored")]
    Missing,
    /// The store cannot be used: not readable, not writable, damaged, busy for too long.
    #[error("the store is not available")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// The cause of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("an object with this id, name, fingerprint or serial number is already stored")]
    Duplicate,
    /// Another process has changed the store since it was read.
    #[error("the store is at another revision")]
    Moved,
}

impl Error {
    pub(super) fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into().into())
    }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}
