//! The last uses of keys in their table.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::error::Error;
use crate::domain::api_key::KeyUse;
use crate::domain::id::KeyId;
use crate::domain::time::Timestamp;

pub(super) fn find(connection: &Connection, ids: &[KeyId]) -> Result<Vec<(KeyId, KeyUse)>, Error> {
    let mut statement =
        connection.prepare_cached("SELECT at, address, route FROM key_uses WHERE id = ?")?;
    let mut found = Vec::new();
    for id in ids {
        let row = statement.query_row([u128::from(*id).to_be_bytes()], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
            ))
        });
        let Some((at, address, route)) = row.optional()? else {
            continue;
        };
        let from = address.parse().ok().ok_or_else(|| Error::Corrupt {
            table: "key_uses",
            column: "address",
            row: id.to_string(),
        })?;
        let used = KeyUse {
            at: Timestamp::from_unix_millis(at),
            from,
            route: route.into(),
        };
        found.push((*id, used));
    }
    Ok(found)
}

pub(super) fn keep(connection: &Connection, uses: &[(KeyId, KeyUse)]) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO key_uses (id, at, address, route) \
         SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM keys WHERE id = ?1) \
         ON CONFLICT (id) DO UPDATE SET at = ?2, address = ?3, route = ?4 WHERE at < ?2",
    )?;
    for (id, used) in uses {
        statement.execute(params![
            u128::from(*id).to_be_bytes(),
            used.at.unix_millis(),
            used.from.to_string(),
            &*used.route,
        ])?;
    }
    Ok(())
}
