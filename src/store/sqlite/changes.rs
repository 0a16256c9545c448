//! Changes made in one transaction, together with their audit event.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::super::change::Change;
use super::super::error::Error;
use super::{admin_tokens, apps, audit, certificates, keys};
use crate::domain::record::AuditEvent;

/// Makes all of `changes` and writes `event`, or does nothing; returns the new revision.
pub(super) fn make(
    connection: &mut Connection,
    changes: &[Change],
    event: &AuditEvent,
) -> Result<u64, Error> {
    // The write lock is taken first, so that the conditions still hold at the commit. An early return drops the
    // transaction, which rolls it back.
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for change in changes {
        make_one(&transaction, change)?;
    }
    let revision = transaction
        .prepare_cached("UPDATE revision SET value = value + 1 RETURNING value")?
        .query_row([], |row| row.get(0))?;
    audit::append(&transaction, revision, event)?;
    transaction.commit()?;
    as_count(revision)
}

/// The number of changes to the database.
pub(super) fn revision(connection: &Connection) -> Result<u64, Error> {
    let revision = connection
        .prepare_cached("SELECT value FROM revision")?
        .query_row([], |row| row.get(0))?;
    as_count(revision)
}

fn as_count(revision: i64) -> Result<u64, Error> {
    u64::try_from(revision).ok().ok_or_else(|| Error::Corrupt {
        table: "revision",
        column: "value",
        row: "the only row".to_owned(),
    })
}

fn make_one(connection: &Connection, change: &Change) -> Result<(), Error> {
    match change {
        Change::CreateApp(app) => apps::create(connection, app),
        Change::SetAppState { id, from, to } => apps::set_state(connection, *id, *from, *to),
        Change::AddCertificate {
            certificate,
            active_max,
            now,
        } => certificates::add(connection, certificate, *active_max, *now),
        Change::RevokeCertificate { id, at, reason } => {
            certificates::revoke(connection, *id, *at, *reason)
        }
        Change::RetireCertificate { id } => certificates::retire(connection, *id),
        Change::CreateKey(key) => keys::create(connection, key),
        Change::RetireKey { id, expires_at } => keys::retire(connection, *id, *expires_at),
        Change::RevokeKey { id, at, reason } => keys::revoke(connection, *id, *at, *reason),
        Change::CreateAdminToken(token) => admin_tokens::create(connection, token),
        Change::RevokeAdminToken { id, at } => admin_tokens::revoke(connection, *id, *at),
    }
}
