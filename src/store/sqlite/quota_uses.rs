//! The uses of quotas in their table.

use rusqlite::{Connection, params};

use super::super::error::Error;
use crate::domain::quota::{QuotaUse, Window};
use crate::domain::time::Timestamp;

/// The rows of ended windows that one write removes.
const SWEPT_TOGETHER: u32 = 1000;

/// The most rows that a start reads: as many as there are buckets, for hours and for days.
const READ_MAX: u32 = 2 << 20;

pub(super) fn all(connection: &Connection, now: Timestamp) -> Result<Vec<QuotaUse>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT quota, subject, window, ends_at, used FROM quota_uses WHERE ends_at > ? LIMIT ?",
    )?;
    let mut rows = statement.query(params![now.unix_seconds(), READ_MAX])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (quota, subject, window): (String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let corrupt = |column| Error::Corrupt {
            table: "quota_uses",
            column,
            row: subject.clone(),
        };
        let mut windows = Window::ALL.into_iter();
        let window = windows.find(|known| known.as_str() == window);
        found.push(QuotaUse {
            quota: quota.parse().ok().ok_or_else(|| corrupt("quota"))?,
            window: window.ok_or_else(|| corrupt("window"))?,
            ends_at: Timestamp::from_unix_seconds(row.get(3)?),
            used: row.get(4)?,
            subject,
        });
    }
    Ok(found)
}

pub(super) fn keep(
    connection: &Connection,
    uses: &[QuotaUse],
    gone: &[QuotaUse],
    now: Timestamp,
) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO quota_uses (quota, window, subject, ends_at, used) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (quota, window, subject) DO UPDATE SET ends_at = ?4, used = ?5",
    )?;
    for used in uses {
        statement.execute(params![
            used.quota.as_str(),
            used.window.as_str(),
            used.subject,
            used.ends_at.unix_seconds(),
            used.used,
        ])?;
    }
    forget(connection, gone)?;
    connection
        .prepare_cached(
            "DELETE FROM quota_uses WHERE (quota, window, subject) IN \
             (SELECT quota, window, subject FROM quota_uses WHERE ends_at <= ? LIMIT ?)",
        )?
        .execute(params![now.unix_seconds(), SWEPT_TOGETHER])?;
    Ok(())
}

fn forget(connection: &Connection, gone: &[QuotaUse]) -> Result<(), Error> {
    let mut statement = connection
        .prepare_cached("DELETE FROM quota_uses WHERE quota = ? AND window = ? AND subject = ?")?;
    for used in gone {
        statement.execute(params![
            used.quota.as_str(),
            used.window.as_str(),
            used.subject
        ])?;
    }
    Ok(())
}
