//! The uses of quotas in their table.

use rusqlite::{Connection, params};

use super::super::error::Error;
use crate::domain::quota::QuotaUse;
use crate::domain::time::Timestamp;

/// The rows of ended windows that one write removes.
const SWEPT_TOGETHER: u32 = 1000;

pub(super) fn all(connection: &Connection, now: Timestamp) -> Result<Vec<QuotaUse>, Error> {
    let mut statement = connection
        .prepare_cached("SELECT quota, subject, ends_at, used FROM quota_uses WHERE ends_at > ?")?;
    let mut rows = statement.query([now.unix_seconds()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (quota, subject): (String, String) = (row.get(0)?, row.get(1)?);
        let name = quota.parse().ok().ok_or_else(|| Error::Corrupt {
            table: "quota_uses",
            column: "quota",
            row: subject.clone(),
        })?;
        found.push(QuotaUse {
            quota: name,
            subject,
            ends_at: Timestamp::from_unix_seconds(row.get(2)?),
            used: row.get(3)?,
        });
    }
    Ok(found)
}

pub(super) fn keep(
    connection: &Connection,
    uses: &[QuotaUse],
    now: Timestamp,
) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO quota_uses (quota, subject, ends_at, used) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (quota, subject) DO UPDATE SET ends_at = ?3, used = ?4",
    )?;
    for used in uses {
        statement.execute(params![
            used.quota.as_str(),
            used.subject,
            used.ends_at.unix_seconds(),
            used.used,
        ])?;
    }
    connection
        .prepare_cached(
            "DELETE FROM quota_uses WHERE (quota, subject) IN \
             (SELECT quota, subject FROM quota_uses WHERE ends_at <= ? LIMIT ?)",
        )?
        .execute(params![now.unix_seconds(), SWEPT_TOGETHER])?;
    Ok(())
}
