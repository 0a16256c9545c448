//! The audit trail: one event for each revision, never rewritten.

use rusqlite::{Connection, params};

use super::super::error::Error;
use super::filter::Conditions;
use super::table::{Record, Table};
use crate::domain::id::{AppId, AuditEventId};
use crate::domain::listing::{AuditFilter, Page};
use crate::domain::record::AuditEvent;

static AUDIT: Table = Table {
    name: "audit",
    columns: &["id", "at", "actor", "action", "subject", "app", "detail"],
    show: |bits| AuditEventId::from_bits(bits).to_string(),
};

fn read(record: &Record<'_>) -> Result<AuditEvent, Error> {
    let app: Option<[u8; 16]> = record.value("app")?;
    Ok(AuditEvent {
        id: AuditEventId::from_bits(record.bits("id")?),
        at: record.time("at")?,
        actor: record.value("actor")?,
        action: record.value("action")?,
        subject: record.value("subject")?,
        app: app.map(|bytes| AppId::from_bits(u128::from_be_bytes(bytes))),
        detail: record.parsed("detail")?,
    })
}

pub(super) fn list(
    connection: &Connection,
    filter: &AuditFilter,
    page: &Page<AuditEventId>,
) -> Result<Vec<AuditEvent>, Error> {
    let mut conditions = Conditions::default();
    if let Some(app) = filter.app {
        conditions.and("app = ?", u128::from(app).to_be_bytes().to_vec());
    }
    if let Some(action) = &filter.action {
        conditions.and("action = ?", action.clone());
    }
    if let Some(subject) = &filter.subject {
        conditions.and("subject = ?", subject.clone());
    }
    if let Some(after) = page.after {
        conditions.and(
            "revision < (SELECT revision FROM audit WHERE id = ?)",
            u128::from(after).to_be_bytes().to_vec(),
        );
    }
    let query = conditions.query("revision DESC", page.limit);
    let values = rusqlite::params_from_iter(conditions.values);
    AUDIT.list(connection, &query, values, read)
}

pub(super) fn append(
    connection: &Connection,
    revision: i64,
    event: &AuditEvent,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO audit (revision, id, at, actor, action, subject, app, detail) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            revision,
            u128::from(event.id).to_be_bytes(),
            event.at.unix_millis(),
            event.actor,
            event.action,
            event.subject,
            event.app.map(|app| u128::from(app).to_be_bytes()),
            event.detail.to_string(),
        ])?;
    Ok(())
}
