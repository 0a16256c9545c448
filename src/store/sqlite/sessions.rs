//! Sessions in their table.

use rusqlite::{Connection, params};

use super::super::error::Error;
use super::super::sessions::{Concerned, Known, OF_USER_MAX, Rule};
use super::filter::Conditions;
use super::table::{Record, Table, updated};
use super::token_ends;
use crate::domain::api_key::{Environment, SecretDigest};
use crate::domain::device::DeviceId;
use crate::domain::id::{AppId, SessionId};
use crate::domain::listing::{Page, SessionFilter};
use crate::domain::registry::change::Allowed;
use crate::domain::registry::sessions::SessionChanges;
use crate::domain::session::{Session, SessionEnd};
use crate::domain::thumbprint::Thumbprint;
use crate::domain::time::Timestamp;
use crate::domain::token::Subject;

static SESSIONS: Table = Table {
    name: "sessions",
    columns: &[
        "id",
        "app",
        "environment",
        "user",
        "proof_key",
        "device",
        "scopes",
        "created_at",
        "refreshed_at",
        "expires_at",
        "idle_until",
        "tokens_until",
        "family",
        "refresh",
        "ended_at",
        "end_cause",
    ],
    show: |bits| SessionId::from_bits(bits).to_string(),
};

fn read(record: &Record<'_>) -> Result<Session, Error> {
    let device: Option<String> = record.value("device")?;
    let device = device.map(|device| device.parse().ok().ok_or_else(|| record.corrupt("device")));
    let cause = record.word_if_any("end_cause", &SessionEnd::ALL, SessionEnd::as_str)?;
    Ok(Session {
        id: SessionId::from_bits(record.bits("id")?),
        app: AppId::from_bits(record.bits("app")?),
        environment: record.word(
            "environment",
            &[Environment::Live, Environment::Test],
            Environment::as_str,
        )?,
        user: record.parsed("user")?,
        proof_key: record
            .value::<Option<[u8; 32]>>("proof_key")?
            .map(Thumbprint::from_bytes),
        device: device.transpose()?,
        scopes: record.parsed("scopes")?,
        created_at: record.time("created_at")?,
        refreshed_at: record.time("refreshed_at")?,
        expires_at: record.time("expires_at")?,
        idle_until: record.time("idle_until")?,
        tokens_until: record.time("tokens_until")?,
        family: record.value("family").map(SecretDigest)?,
        refresh: record.value("refresh").map(SecretDigest)?,
        ended: record.time_if_any("ended_at")?.zip(cause),
    })
}

pub(super) fn find(connection: &Connection, id: SessionId) -> Result<Option<Session>, Error> {
    let id = u128::from(id).to_be_bytes();
    SESSIONS.one(connection, "WHERE id = ?", [id], read)
}

pub(super) fn list(
    connection: &Connection,
    filter: &SessionFilter,
    page: &Page<SessionId>,
) -> Result<Vec<Session>, Error> {
    let mut conditions = Conditions::default();
    if let Some(app) = filter.app {
        conditions.and("app = ?", u128::from(app).to_be_bytes().to_vec());
    }
    if let Some(user) = &filter.user {
        conditions.and("user = ?", user.as_str().to_owned());
    }
    if let Some(device) = &filter.device {
        conditions.and("device = ?", device.as_str().to_owned());
    }
    if let Some(at) = filter.live_at {
        conditions.and(
            "ended_at IS NULL AND min(idle_until, expires_at) > ?",
            at.unix_millis(),
        );
    }
    if let Some(after) = page.after {
        conditions.and("id > ?", u128::from(after).to_be_bytes().to_vec());
    }
    let query = conditions.query("id", page.limit);
    let values = rusqlite::params_from_iter(conditions.values);
    SESSIONS.list(connection, &query, values, read)
}

/// The sessions of a user that are live at `now`, newest first.
fn of_user(
    connection: &Connection,
    app: AppId,
    user: &Subject,
    now: Timestamp,
) -> Result<Vec<Session>, Error> {
    let of_user = params![
        u128::from(app).to_be_bytes(),
        user.as_str(),
        now.unix_millis(),
        OF_USER_MAX
    ];
    let rest = "WHERE app = ? AND user = ? AND ended_at IS NULL AND min(idle_until, expires_at) > ? \
                ORDER BY id DESC LIMIT ?";
    SESSIONS.list(connection, rest, of_user, read)
}

/// The number of the App's sessions, live or not.
fn count(connection: &Connection, app: AppId) -> Result<u64, Error> {
    let count: Option<i64> = connection
        .prepare_cached("SELECT sum(sessions) FROM session_counts WHERE app = ?")?
        .query_row([u128::from(app).to_be_bytes()], |row| row.get(0))?;
    Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(0))
}

/// Asks the rule, and keeps what it allows.
pub(super) fn change(
    connection: &Connection,
    concerned: &Concerned,
    rule: &Rule,
) -> Result<SessionChanges, Error> {
    let known = match concerned {
        Concerned::One(id) => Known {
            sessions: find(connection, *id)?.into_iter().collect(),
            of_app: 0,
        },
        Concerned::User(app, user, now) => Known {
            sessions: of_user(connection, *app, user, *now)?,
            of_app: count(connection, *app)?,
        },
    };
    let changes = rule(&known);
    for session in &changes.sessions {
        keep(connection, session)?;
    }
    for end in &changes.ends {
        token_ends::keep(connection, end.value(), 0)?;
    }
    Ok(changes)
}

pub(super) fn keep(connection: &Connection, session: &Allowed<Session>) -> Result<(), Error> {
    if session.is_new() {
        insert(connection, session.value())
    } else {
        update(connection, session.value())
    }
}

fn insert(connection: &Connection, session: &Session) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO sessions (id, app, environment, user, proof_key, device, scopes, created_at, refreshed_at, expires_at, \
             idle_until, tokens_until, family, refresh, ended_at, end_cause) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            u128::from(session.id).to_be_bytes(),
            u128::from(session.app).to_be_bytes(),
            session.environment.as_str(),
            session.user.as_str(),
            session.proof_key.as_ref().map(Thumbprint::as_bytes),
            session.device.as_ref().map(DeviceId::as_str),
            session.scopes.to_string(),
            session.created_at.unix_millis(),
            session.refreshed_at.unix_millis(),
            session.expires_at.unix_millis(),
            session.idle_until.unix_millis(),
            session.tokens_until.unix_millis(),
            session.family.0,
            session.refresh.0,
            session.ended.map(|(at, _)| at.unix_millis()),
            session.ended.map(|(_, cause)| cause.as_str()),
        ])?;
    Ok(())
}

/// Keeps a session that has changed. Its tokens live on as long as the newest of them, which may be one that another
/// process minted since the session was read.
fn update(connection: &Connection, session: &Session) -> Result<(), Error> {
    let rows = connection
        .prepare_cached(
            "UPDATE sessions SET refreshed_at = ?, idle_until = ?, tokens_until = max(tokens_until, ?), \
             refresh = ?, ended_at = ?, end_cause = ? WHERE id = ?",
        )?
        .execute(params![
            session.refreshed_at.unix_millis(),
            session.idle_until.unix_millis(),
            session.tokens_until.unix_millis(),
            session.refresh.0,
            session.ended.map(|(at, _)| at.unix_millis()),
            session.ended.map(|(_, cause)| cause.as_str()),
            u128::from(session.id).to_be_bytes(),
        ])?;
    updated(rows)
}

pub(super) fn sweep(connection: &Connection, before: Timestamp, max: u32) -> Result<u32, Error> {
    let rows = connection
        .prepare_cached(
            "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions \
             WHERE min(idle_until, expires_at, ifnull(ended_at, expires_at)) < ?1 \
             ORDER BY min(idle_until, expires_at, ifnull(ended_at, expires_at)) LIMIT ?2)",
        )?
        .execute(params![before.unix_millis(), max])?;
    Ok(u32::try_from(rows).unwrap_or(u32::MAX))
}
