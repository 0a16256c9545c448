//! Acts kept in one transaction, each with its revision and its audit event.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::super::act::Act;
use super::super::error::{Conflict, Error};
use super::super::repository::Since;
use super::{admin_tokens, apps, audit, certificates, keys, sessions, token_ends};
use crate::domain::registry::change::Change;
use crate::domain::succession::Entry;

/// Keeps all of `acts`, or none.
pub(super) fn make(connection: &mut Connection, expected: u64, acts: &[Act]) -> Result<(), Error> {
    // The write lock is taken first, so that the revision still holds at the commit. An early return drops the
    // transaction, which rolls it back.
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let mut revision = stored(&transaction)?;
    if as_count(revision)? != expected {
        return Err(Conflict::Moved.into());
    }
    for act in acts {
        revision += 1;
        for change in &act.changes {
            keep(&transaction, change, revision)?;
        }
        audit::append(&transaction, revision, &act.event)?;
    }
    transaction
        .prepare_cached("UPDATE revision SET value = ?")?
        .execute([revision])?;
    Ok(transaction.commit()?)
}

/// The number of changes to the database.
pub(super) fn revision(connection: &Connection) -> Result<u64, Error> {
    as_count(stored(connection)?)
}

/// The entries of a snapshot that were changed after `revision`.
pub(super) fn since(connection: &Connection, revision: u64) -> Result<Since, Error> {
    let after = i64::try_from(revision).unwrap_or(i64::MAX);
    let apps = apps::since(connection, after)?.into_iter();
    let certificates = certificates::since(connection, after)?.into_iter();
    let keys = keys::since(connection, after)?.into_iter();
    let ends = token_ends::since(connection, after)?.into_iter();
    let entries = apps
        .map(|app| Entry::App(Arc::new(app)))
        .chain(certificates.map(|(fingerprint, entry)| Entry::Certificate(fingerprint, entry)))
        .chain(keys.map(|(id, key)| Entry::Key(id, key)))
        .chain(ends.map(|(of, until)| Entry::TokenEnd(of, until)))
        .collect();
    Ok(Since {
        revision: self::revision(connection)?,
        entries,
    })
}

fn stored(connection: &Connection) -> Result<i64, Error> {
    let revision = connection
        .prepare_cached("SELECT value FROM revision")?
        .query_row([], |row| row.get(0))?;
    Ok(revision)
}

fn as_count(revision: i64) -> Result<u64, Error> {
    u64::try_from(revision).ok().ok_or_else(|| Error::Corrupt {
        table: "revision",
        column: "value",
        row: "the only row".to_owned(),
    })
}

fn keep(connection: &Connection, change: &Change, revision: i64) -> Result<(), Error> {
    match change {
        Change::AdminToken(token) => admin_tokens::keep(connection, token),
        Change::App(app) => apps::keep(connection, app, revision),
        Change::Certificate(certificate) => certificates::keep(connection, certificate, revision),
        Change::Key(key) => keys::keep(connection, key, revision),
        Change::Session(session) => sessions::keep(connection, session),
        Change::TokenEnd(end) => token_ends::keep(connection, end.value(), revision),
    }
}
