//! The schema brought up to date, step by step, each step known by its checksum.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::super::error::Error;
use super::error::Refusal;

/// Every step from an empty database to the schema of this version, in order. A released step is never edited.
static MIGRATIONS: &[Migration] = &[
    Migration {
        name: "registry",
        sql: include_str!("migrations/0001_registry.sql"),
    },
    Migration {
        name: "revisions",
        sql: include_str!("migrations/0002_revisions.sql"),
    },
    Migration {
        name: "tickets",
        sql: include_str!("migrations/0003_tickets.sql"),
    },
    Migration {
        name: "app_settings",
        sql: include_str!("migrations/0004_app_settings.sql"),
    },
    Migration {
        name: "sessions",
        sql: include_str!("migrations/0005_sessions.sql"),
    },
    Migration {
        name: "keys",
        sql: include_str!("migrations/0006_keys.sql"),
    },
    Migration {
        name: "proof_keys",
        sql: include_str!("migrations/0007_proof_keys.sql"),
    },
    Migration {
        name: "signing_keys",
        sql: include_str!("migrations/0008_signing_keys.sql"),
    },
    Migration {
        name: "limits",
        sql: include_str!("migrations/0009_limits.sql"),
    },
    Migration {
        name: "ticket_counts",
        sql: include_str!("migrations/0010_ticket_counts.sql"),
    },
];

#[derive(Debug)]
struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// Runs the steps that the database does not have yet, all or none.
///
/// Refuses a database that a newer version wrote, and one with other steps than ours.
pub(super) fn run(connection: &mut Connection) -> Result<(), Error> {
    run_all(connection, MIGRATIONS)
}

/// True if the database has every step, and none but ours.
pub(super) fn is_current(connection: &Connection) -> Result<bool, Error> {
    let seen = seen(connection)?;
    judge(&seen, MIGRATIONS)?;
    Ok(seen.len() == MIGRATIONS.len())
}

fn run_all(connection: &mut Connection, migrations: &[Migration]) -> Result<(), Error> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations ( \
             version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum INTEGER NOT NULL \
         ) STRICT",
    )?;
    let seen = seen(&transaction)?;
    judge(&seen, migrations)?;
    for (migration, version) in migrations.iter().zip(1_u32..).skip(seen.len()) {
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            "INSERT INTO migrations (version, name, checksum) VALUES (?, ?, ?)",
            params![version, migration.name, checksum(migration.sql)],
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// The versions and checksums of the steps that the database has.
fn seen(connection: &Connection) -> Result<Vec<(u32, i64)>, Error> {
    let mut statement =
        connection.prepare("SELECT version, checksum FROM migrations ORDER BY version")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn judge(seen: &[(u32, i64)], migrations: &[Migration]) -> Result<(), Refusal> {
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if let Some((found, _)) = seen.last().filter(|(found, _)| *found > known) {
        return Err(Refusal::Newer {
            found: *found,
            known,
        });
    }
    for ((version, found), (migration, place)) in seen.iter().zip(migrations.iter().zip(1_u32..)) {
        if *version != place || *found != checksum(migration.sql) {
            return Err(Refusal::Rewritten { version: place });
        }
    }
    Ok(())
}

/// FNV-1a: it distinguishes an edited file from the released one, and need not withstand an attacker.
fn checksum(text: &str) -> i64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Migration = Migration {
        name: "first",
        sql: "CREATE TABLE a (x INTEGER)",
    };
    const SECOND: Migration = Migration {
        name: "second",
        sql: "ALTER TABLE a ADD COLUMN y INTEGER",
    };
    const BROKEN: Migration = Migration {
        name: "broken",
        sql: "CREATE TABLE b (x INTEGER); CREATE TABLE a (x INTEGER)",
    };

    fn refusal(error: Error) -> String {
        let Error::Unavailable(source) = error else {
            panic!("{error:?}")
        };
        source.to_string()
    }

    #[test]
    fn steps_are_made_once_and_later_ones_when_they_come() {
        let mut connection = Connection::open_in_memory().unwrap();
        run_all(&mut connection, &[FIRST]).unwrap();
        run_all(&mut connection, &[FIRST]).unwrap();
        run_all(&mut connection, &[FIRST, SECOND]).unwrap();
        connection
            .execute("INSERT INTO a (x, y) VALUES (1, 2)", [])
            .unwrap();
        assert_eq!(seen(&connection).unwrap().len(), 2);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        run_all(&mut connection, &[FIRST, SECOND]).unwrap();
        let refused = run_all(&mut connection, &[FIRST]).unwrap_err();
        assert!(refusal(refused).contains("schema 2"));
    }

    #[test]
    fn an_edited_step_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        run_all(&mut connection, &[FIRST]).unwrap();
        let refused = run_all(&mut connection, &[SECOND]).unwrap_err();
        assert!(refusal(refused).contains("migration 1"));
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        run_all(&mut connection, &[FIRST]).unwrap();
        run_all(&mut connection, &[FIRST, BROKEN]).unwrap_err();
        assert!(!connection.table_exists(None, "b").unwrap());
        run_all(&mut connection, &[FIRST, SECOND]).unwrap();
    }

    #[test]
    fn released_steps_are_never_edited() {
        let sums: Vec<i64> = MIGRATIONS.iter().map(|m| checksum(m.sql)).collect();
        assert_eq!(
            sums,
            [
                -5_377_911_999_759_289_688,
                1_475_708_208_088_479_763,
                -1_434_445_201_742_379_330,
                7_966_784_273_891_284_478,
                -213_862_777_320_028_584,
                324_871_171_209_876_152,
                -5_795_012_561_887_213_571,
                -2_690_910_348_016_334_211,
                7_720_836_292_689_543_113,
                3_515_979_148_039_007_566
            ]
        );
    }
}
