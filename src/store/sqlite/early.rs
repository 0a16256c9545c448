//! The data for a snapshot, read while the file is still being checked: both read all of it, and neither has to wait.

use std::path::Path;
use std::thread;

use rusqlite::Connection;

use super::super::error::Error;
use super::super::repository::Contents;
use super::{apps, certificates, changes, file, keys, migrate};
use crate::domain::shelf::Shelf;

/// Reads the data on two threads; `None` when it cannot be read now, or changes meanwhile, and has to be read later.
/// Faults are not reported here: the later read finds them too, or the check has refused the file.
pub(super) fn read(path: &Path) -> Option<Contents> {
    let (ours, theirs) = thread::scope(|scope| {
        let theirs = scope.spawn(|| at_one_moment(path, certificates::all).ok().flatten());
        let ours = at_one_moment(path, |connection| {
            Ok((apps::all(connection)?, keys::all(connection)?))
        });
        (ours.ok().flatten(), theirs.join().ok().flatten())
    });
    let ((revision, (apps, keys)), (same, certificates)) = (ours?, theirs?);
    (revision == same).then_some(Contents {
        revision,
        apps,
        certificates,
        keys,
        // Read when they are needed: they change without a revision.
        token_ends: Shelf::default(),
    })
}

/// Reads on a connection of its own, if the schema is current, and returns the revision.
fn at_one_moment<T>(
    path: &Path,
    work: impl FnOnce(&Connection) -> Result<T, Error>,
) -> Result<Option<(u64, T)>, Error> {
    let connection = file::open_reader(path)?;
    let transaction = connection.unchecked_transaction()?;
    if !migrate::is_current(&transaction)? {
        return Ok(None);
    }
    Ok(Some((
        changes::revision(&transaction)?,
        work(&transaction)?,
    )))
}
