//! Admin tokens in their table: digests, never tokens.

use rusqlite::{Connection, params};

use super::super::error::Error;
use super::filter::Conditions;
use super::table::{Record, Table, updated};
use crate::domain::admin::{AdminToken, Role};
use crate::domain::api_key::SecretDigest;
use crate::domain::id::AdminTokenId;
use crate::domain::listing::Page;
use crate::domain::registry::change::Allowed;
use crate::domain::time::Timestamp;

static ADMIN_TOKENS: Table = Table {
    name: "admin_tokens",
    columns: &[
        "id",
        "name",
        "role",
        "digest",
        "created_at",
        "expires_at",
        "revoked_at",
    ],
    show: |bits| AdminTokenId::from_bits(bits).to_string(),
};

const fn word(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

fn read(record: &Record<'_>) -> Result<AdminToken, Error> {
    Ok(AdminToken {
        id: AdminTokenId::from_bits(record.bits("id")?),
        name: record.parsed("name")?,
        role: record.word("role", &[Role::Viewer, Role::Operator, Role::Admin], word)?,
        digest: record.value("digest").map(SecretDigest)?,
        created_at: record.time("created_at")?,
        expires_at: record.time_if_any("expires_at")?,
        revoked_at: record.time_if_any("revoked_at")?,
    })
}

pub(super) fn find(connection: &Connection, id: AdminTokenId) -> Result<Option<AdminToken>, Error> {
    let bytes = u128::from(id).to_be_bytes();
    ADMIN_TOKENS.one(connection, "WHERE id = ?", [bytes], read)
}

pub(super) fn list(
    connection: &Connection,
    page: &Page<AdminTokenId>,
) -> Result<Vec<AdminToken>, Error> {
    let mut conditions = Conditions::default();
    if let Some(after) = page.after {
        conditions.and("id > ?", u128::from(after).to_be_bytes().to_vec());
    }
    let query = conditions.query("id", page.limit);
    let values = rusqlite::params_from_iter(conditions.values);
    ADMIN_TOKENS.list(connection, &query, values, read)
}

pub(super) fn keep(connection: &Connection, token: &Allowed<AdminToken>) -> Result<(), Error> {
    if token.is_new() {
        insert(connection, token.value())
    } else {
        update(connection, token.value())
    }
}

fn insert(connection: &Connection, token: &AdminToken) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO admin_tokens (id, name, role, digest, created_at, expires_at, revoked_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            u128::from(token.id).to_be_bytes(),
            token.name.as_str(),
            word(token.role),
            token.digest.0,
            token.created_at.unix_millis(),
            token.expires_at.map(Timestamp::unix_millis),
            token.revoked_at.map(Timestamp::unix_millis),
        ])?;
    Ok(())
}

fn update(connection: &Connection, token: &AdminToken) -> Result<(), Error> {
    let rows = connection
        .prepare_cached("UPDATE admin_tokens SET revoked_at = ? WHERE id = ?")?
        .execute(params![
            token.revoked_at.map(Timestamp::unix_millis),
            u128::from(token.id).to_be_bytes(),
        ])?;
    updated(rows)
}
