//! Tickets in their table.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::error::Error;
use super::super::tickets::{Put, Ticket, TicketId};
use crate::domain::id::AppId;
use crate::domain::time::Timestamp;

/// Keeps a ticket of an App, if it has fewer than `max` of this kind. Triggers count them.
pub(super) fn put_within(
    connection: &Connection,
    ticket: &Ticket,
    app: AppId,
    max: u32,
    now: Timestamp,
) -> Result<Put, Error> {
    let count = connection
        .prepare_cached("SELECT tickets FROM ticket_counts WHERE kind = ? AND app = ?")?
        .query_row(params![ticket.id.kind, octets(app)], |row| row.get(0));
    let count: Option<u32> = count.optional()?;
    if count.is_some_and(|count| count >= max) {
        return Ok(Put::Full);
    }
    let kept = put(connection, ticket, Some(app), now)?;
    Ok(if kept { Put::Kept } else { Put::Taken })
}

fn octets(app: AppId) -> [u8; 16] {
    u128::from(app).to_be_bytes()
}

pub(super) fn put(
    connection: &Connection,
    ticket: &Ticket,
    app: Option<AppId>,
    now: Timestamp,
) -> Result<bool, Error> {
    // An expired ticket that is not swept yet gives up its place.
    let rows = connection
        .prepare_cached(
            "INSERT INTO tickets (kind, digest, payload, expires_at, app) VALUES (?1, ?2, ?3, ?4, ?6) \
             ON CONFLICT (kind, digest) DO UPDATE SET payload = ?3, expires_at = ?4 WHERE expires_at < ?5",
        )?
        .execute(params![
            ticket.id.kind,
            ticket.id.digest,
            ticket.payload(),
            ticket.expires_at.unix_millis(),
            now.unix_millis(),
            app.map(octets),
        ])?;
    Ok(rows > 0)
}

pub(super) fn find(
    connection: &Connection,
    id: &TicketId,
    now: Timestamp,
) -> Result<Option<Ticket>, Error> {
    let sql =
        "SELECT payload, expires_at FROM tickets WHERE kind = ? AND digest = ? AND expires_at >= ?";
    one(connection, sql, id, now)
}

pub(super) fn take(
    connection: &Connection,
    id: &TicketId,
    now: Timestamp,
) -> Result<Option<Ticket>, Error> {
    let sql = "DELETE FROM tickets WHERE kind = ? AND digest = ? AND expires_at >= ? \
               RETURNING payload, expires_at";
    one(connection, sql, id, now)
}

fn one(
    connection: &Connection,
    sql: &str,
    id: &TicketId,
    now: Timestamp,
) -> Result<Option<Ticket>, Error> {
    let mut statement = connection.prepare_cached(sql)?;
    let values = params![id.kind, id.digest, now.unix_millis()];
    let ticket = statement.query_row(values, |row| {
        Ok((row.get(0)?, Timestamp::from_unix_millis(row.get(1)?)))
    });
    let Some((payload, expires_at)) = ticket.optional()? else {
        return Ok(None);
    };
    let ticket = Ticket::new(*id, payload, expires_at).ok();
    ticket.map(Some).ok_or_else(|| Error::Corrupt {
        table: "tickets",
        column: "payload",
        row: format!("a ticket of the kind {}", id.kind),
    })
}

pub(super) fn sweep(connection: &Connection, now: Timestamp, max: u32) -> Result<u32, Error> {
    let rows = connection
        .prepare_cached(
            "DELETE FROM tickets WHERE (kind, digest) IN ( \
                 SELECT kind, digest FROM tickets WHERE expires_at < ? ORDER BY expires_at LIMIT ? \
             )",
        )?
        .execute(params![now.unix_millis(), max])?;
    Ok(u32::try_from(rows).unwrap_or(u32::MAX))
}
