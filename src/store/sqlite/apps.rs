//! Apps in their table.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::super::error::Error;
use super::filter::Conditions;
use super::table::{Record, Table, updated};
use crate::domain::app::{App, AppState};
use crate::domain::id::AppId;
use crate::domain::listing::Page;
use crate::domain::name::Name;
use crate::domain::registry::change::Allowed;
use crate::domain::shelf::Shelf;

static APPS: Table = Table {
    name: "apps",
    columns: &["id", "name", "state", "contact", "created_at"],
    show: |bits| AppId::from_bits(bits).to_string(),
};

fn read(record: &Record<'_>) -> Result<App, Error> {
    Ok(App {
        id: AppId::from_bits(record.bits("id")?),
        name: record.parsed("name")?,
        state: record.word("state", &AppState::ALL, AppState::as_str)?,
        contact: record.value("contact")?,
        created_at: record.time("created_at")?,
    })
}

pub(super) fn find(connection: &Connection, id: AppId) -> Result<Option<App>, Error> {
    APPS.one(
        connection,
        "WHERE id = ?",
        [u128::from(id).to_be_bytes()],
        read,
    )
}

pub(super) fn find_by_name(connection: &Connection, name: &Name) -> Result<Option<App>, Error> {
    APPS.one(connection, "WHERE name = ?", [name.as_str()], read)
}

pub(super) fn all(connection: &Connection) -> Result<Shelf<AppId, Arc<App>>, Error> {
    APPS.shelf(connection, |record| {
        read(record).map(|app| (app.id, Arc::new(app)))
    })
}

pub(super) fn list(connection: &Connection, page: &Page<AppId>) -> Result<Vec<App>, Error> {
    let mut conditions = Conditions::default();
    if let Some(after) = page.after {
        conditions.and("id > ?", u128::from(after).to_be_bytes().to_vec());
    }
    let query = conditions.query("id", page.limit);
    let values = rusqlite::params_from_iter(conditions.values);
    APPS.list(connection, &query, values, read)
}

/// The Apps that were changed after this revision.
pub(super) fn since(connection: &Connection, revision: i64) -> Result<Vec<App>, Error> {
    APPS.list(connection, "WHERE revision > ?", [revision], read)
}

pub(super) fn keep(
    connection: &Connection,
    app: &Allowed<App>,
    revision: i64,
) -> Result<(), Error> {
    if app.is_new() {
        insert(connection, app.value(), revision)
    } else {
        update(connection, app.value(), revision)
    }
}

fn insert(connection: &Connection, app: &App, revision: i64) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO apps (id, name, state, contact, created_at, revision) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            u128::from(app.id).to_be_bytes(),
            app.name.as_str(),
            app.state.as_str(),
            app.contact,
            app.created_at.unix_millis(),
            revision,
        ])?;
    Ok(())
}

fn update(connection: &Connection, app: &App, revision: i64) -> Result<(), Error> {
    let rows = connection
        .prepare_cached(
            "UPDATE apps SET name = ?, state = ?, contact = ?, revision = ? WHERE id = ?",
        )?
        .execute(params![
            app.name.as_str(),
            app.state.as_str(),
            app.contact,
            revision,
            u128::from(app.id).to_be_bytes(),
        ])?;
    updated(rows)
}
