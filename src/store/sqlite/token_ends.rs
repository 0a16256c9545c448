//! The ends of access tokens before their expiry.

use rusqlite::{Connection, params};

use super::super::error::Error;
use super::table::{Record, Table};
use crate::domain::id::{AppId, SessionId, TokenId};
use crate::domain::shelf::Shelf;
use crate::domain::time::Timestamp;
use crate::domain::token_end::{TokenEnd, TokensOf};

static ENDS: Table = Table {
    name: "token_ends",
    columns: &["id", "kind", "until"],
    show: |bits| TokenId::from_bits(bits).to_string(),
};

/// The kinds, as they are stored.
const SESSION: &str = "session";
const TOKEN: &str = "token";

fn parts(of: TokensOf) -> (&'static str, [u8; 16]) {
    match of {
        TokensOf::Session(id) => (SESSION, u128::from(id).to_be_bytes()),
        TokensOf::Token(id) => (TOKEN, u128::from(id).to_be_bytes()),
    }
}

fn read(record: &Record<'_>) -> Result<(TokensOf, Timestamp), Error> {
    let bits = record.bits("id")?;
    let of = match record.text("kind")? {
        SESSION => TokensOf::Session(SessionId::from_bits(bits)),
        TOKEN => TokensOf::Token(TokenId::from_bits(bits)),
        _ => return Err(record.corrupt("kind")),
    };
    Ok((of, record.time("until")?))
}

pub(super) fn all(connection: &Connection) -> Result<Shelf<TokensOf, Timestamp>, Error> {
    ENDS.shelf(connection, read)
}

/// The ends that were kept after this revision.
pub(super) fn since(
    connection: &Connection,
    revision: i64,
) -> Result<Vec<(TokensOf, Timestamp)>, Error> {
    ENDS.list(connection, "WHERE revision > ?", [revision], read)
}

/// Keeps an end. The latest expiry stands.
pub(super) fn keep(connection: &Connection, end: &TokenEnd, revision: i64) -> Result<(), Error> {
    let (kind, id) = parts(end.of);
    connection
        .prepare_cached(
            "INSERT INTO token_ends (id, kind, app, until, revision) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (id) DO UPDATE SET until = max(until, ?4), revision = max(revision, ?5)",
        )?
        .execute(params![
            id,
            kind,
            u128::from(end.app).to_be_bytes(),
            end.until.unix_millis(),
            revision,
        ])?;
    Ok(())
}

/// The number of the App's single tokens that ended, counted up to `max`.
pub(super) fn count(connection: &Connection, app: AppId, max: u32) -> Result<u32, Error> {
    let count = connection
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM token_ends WHERE app = ? AND kind = 'token' LIMIT ?)")?
        .query_row(params![u128::from(app).to_be_bytes(), max], |row| {
            row.get(0)
        })?;
    Ok(count)
}

pub(super) fn sweep(connection: &Connection, now: Timestamp, max: u32) -> Result<u32, Error> {
    let rows = connection
        .prepare_cached(
            "DELETE FROM token_ends WHERE id IN \
             (SELECT id FROM token_ends WHERE until <= ? ORDER BY until LIMIT ?)",
        )?
        .execute(params![now.unix_millis(), max])?;
    Ok(u32::try_from(rows).unwrap_or(u32::MAX))
}
