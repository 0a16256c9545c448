//! Apps in their table.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::super::error::{Conflict, Error};
use super::filter::Conditions;
use super::table::{Record, Table};
use crate::domain::app::{App, AppState};
use crate::domain::id::AppId;
use crate::domain::listing::Page;
use crate::domain::name::Name;
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

/// Takes its name from a permanently revoked App, which gets one that ends as its id does.
fn give_up_name(connection: &Connection, app: &App) -> Result<(), Error> {
    let name = app.name_given_up();
    connection
        .prepare_cached("UPDATE apps SET name = ? WHERE id = ?")?
        .execute(params![name.as_str(), u128::from(app.id).to_be_bytes()])?;
    Ok(())
}

pub(super) fn create(connection: &Connection, app: &App) -> Result<(), Error> {
    if let Some(other) = find_by_name(connection, &app.name)? {
        if other.state != AppState::Revoked {
            return Err(Conflict::NameTaken.into());
        }
        give_up_name(connection, &other)?;
    }
    connection
        .prepare_cached(
            "INSERT INTO apps (id, name, state, contact, created_at) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            u128::from(app.id).to_be_bytes(),
            app.name.as_str(),
            app.state.as_str(),
            app.contact,
            app.created_at.unix_millis(),
        ])?;
    Ok(())
}

pub(super) fn set_state(
    connection: &Connection,
    id: AppId,
    from: AppState,
    to: AppState,
) -> Result<(), Error> {
    let id = u128::from(id).to_be_bytes();
    let rows = connection
        .prepare_cached(
            "UPDATE apps SET state = ?3 WHERE id = ?1 AND state = ?2 AND state <> 'revoked'",
        )?
        .execute(params![id, from.as_str(), to.as_str()])?;
    APPS.changed(connection, id, rows)
}

/// Refuses a new credential of an App that is missing, or was revoked since the check.
pub(super) fn may_grow(connection: &Connection, id: AppId) -> Result<(), Error> {
    let app = find(connection, id)?.ok_or(Error::Missing)?;
    match app.state {
        AppState::Active | AppState::Suspended => Ok(()),
        AppState::Revoked => Err(Conflict::StateChanged.into()),
    }
}
