//! API keys in their table: digests, and the sealed texts of signing keys.

use std::cell::RefCell;
use std::collections::HashMap;

use ipnet::IpNet;
use rusqlite::{Connection, params};

use super::super::error::Error;
use super::filter::Conditions;
use super::table::{Record, Table, updated};
use crate::domain::api_key::{
    ApiKey, DigestKind, Environment, KeyKind, KeyLimit, KeyRules, KeyTail, SecretDigest,
};
use crate::domain::credential::{CredentialState, RevocationReason};
use crate::domain::id::{AppId, KeyId};
use crate::domain::limit::Measure;
use crate::domain::listing::{KeyFilter, Page};
use crate::domain::origin::OriginPattern;
use crate::domain::quota::Quota;
use crate::domain::rate::Rate;
use crate::domain::registry::change::Allowed;
use crate::domain::scope::ScopeSet;
use crate::domain::sealed::Sealed;
use crate::domain::shelf::Shelf;
use crate::domain::snapshot::KeyEntry;
use crate::domain::time::Timestamp;

static KEYS: Table = Table {
    name: "keys",
    columns: &[
        "id",
        "app",
        "name",
        "environment",
        "digest",
        "scopes",
        "networks",
        "state",
        "created_at",
        "expires_at",
        "revoked_at",
        "revocation_reason",
        "kind",
        "digest_kind",
        "tail",
        "origins",
        "limits",
        "successor",
        "tokens_outlive",
        "sealed",
    ],
    show,
};

/// The columns for a snapshot: only these are read of a million rows at start.
static ENTRIES: Table = Table {
    name: "keys",
    columns: &[
        "id",
        "app",
        "digest",
        "scopes",
        "networks",
        "state",
        "expires_at",
        "kind",
        "environment",
        "digest_kind",
        "tail",
        "origins",
        "limits",
        "tokens_outlive",
        "sealed",
    ],
    show,
};

fn show(bits: u128) -> String {
    KeyId::from_bits(bits).to_string()
}

fn read(record: &Record<'_>) -> Result<ApiKey, Error> {
    Ok(ApiKey {
        id: KeyId::from_bits(record.bits("id")?),
        app: AppId::from_bits(record.bits("app")?),
        name: record.parsed("name")?,
        kind: kind(record)?,
        environment: environment(record)?,
        digest: record.value("digest").map(SecretDigest)?,
        digest_kind: digest_kind(record)?,
        tail: tail(record)?,
        sealed: sealed(record)?,
        scopes: record.parsed("scopes")?,
        networks: networks(record)?,
        origins: origins(record)?,
        limits: limits(record)?,
        state: state(record)?,
        created_at: record.time("created_at")?,
        expires_at: record.time_if_any("expires_at")?,
        revoked_at: record.time_if_any("revoked_at")?,
        revocation_reason: record.word_if_any(
            "revocation_reason",
            &RevocationReason::ALL,
            RevocationReason::as_str,
        )?,
        successor: record
            .value::<Option<[u8; 16]>>("successor")?
            .map(u128::from_be_bytes)
            .map(KeyId::from_bits),
        tokens_outlive: record.value("tokens_outlive")?,
    })
}

fn read_entry(
    record: &Record<'_>,
    sets: &mut HashMap<String, ScopeSet>,
) -> Result<(KeyId, KeyEntry), Error> {
    let written = record.text("scopes")?;
    if !sets.contains_key(written) {
        sets.insert(written.to_owned(), record.parsed("scopes")?);
    }
    let scopes = sets.get(written).cloned().unwrap_or_default();
    let entry = KeyEntry {
        app: AppId::from_bits(record.bits("app")?),
        digest: record.value("digest").map(SecretDigest)?,
        digest_kind: digest_kind(record)?,
        scopes,
        networks: networks(record)?.into_boxed_slice(),
        state: state(record)?,
        expires_at: record.time_if_any("expires_at")?,
        kind: kind(record)?,
        environment: environment(record)?,
        tail: tail(record)?,
        tokens_outlive: record.value("tokens_outlive")?,
        rules: KeyRules::of(&origins(record)?, &limits(record)?, sealed(record)?),
    };
    Ok((KeyId::from_bits(record.bits("id")?), entry))
}

fn kind(record: &Record<'_>) -> Result<KeyKind, Error> {
    record.word("kind", &KeyKind::ALL, KeyKind::as_str)
}

fn digest_kind(record: &Record<'_>) -> Result<DigestKind, Error> {
    record.word("digest_kind", &DigestKind::ALL, DigestKind::as_str)
}

fn environment(record: &Record<'_>) -> Result<Environment, Error> {
    record.word("environment", &Environment::ALL, Environment::as_str)
}

fn tail(record: &Record<'_>) -> Result<Option<KeyTail>, Error> {
    let text: Option<String> = record.value("tail")?;
    let tail = text.map(|text| KeyTail::of(&text).ok_or_else(|| record.corrupt("tail")));
    tail.transpose()
}

fn sealed(record: &Record<'_>) -> Result<Option<Sealed>, Error> {
    let envelope: Option<Vec<u8>> = record.value("sealed")?;
    Ok(envelope.map(Sealed::new))
}

/// The origins of a key, in one text, separated by blanks.
fn origins(record: &Record<'_>) -> Result<Vec<OriginPattern>, Error> {
    let written = record.text("origins")?.split_whitespace();
    let read = |origin: &str| origin.parse().ok();
    let read = written.map(|origin| read(origin).ok_or_else(|| record.corrupt("origins")));
    read.collect()
}

/// The limits of a key, in one text: `events 100/m 20;day 10000/d quota;…`.
fn limits(record: &Record<'_>) -> Result<Vec<KeyLimit>, Error> {
    let written = record.text("limits")?.split(';');
    let written = written.filter(|limit| !limit.is_empty());
    let read = written.map(|limit| limit_of(limit).ok_or_else(|| record.corrupt("limits")));
    read.collect()
}

/// Stands in the place of a burst, which a quota does not have.
const QUOTA: &str = "quota";

fn limit_of(text: &str) -> Option<KeyLimit> {
    let mut parts = text.split_whitespace();
    let name = parts.next()?.parse().ok()?;
    let (count, burst) = (parts.next()?, parts.next()?);
    let measure = if burst == QUOTA {
        Measure::Quota(Quota::parse(count).ok()?)
    } else {
        let burst = burst.parse().ok()?;
        Measure::Rate(Rate {
            burst,
            ..Rate::parse(count).ok()?
        })
    };
    Some(KeyLimit { name, measure })
}

fn written(limits: &[KeyLimit]) -> String {
    let one = |KeyLimit { name, measure }: &KeyLimit| match measure {
        Measure::Rate(rate) => format!("{name} {} {}", rate.text(), rate.burst),
        Measure::Quota(quota) => format!("{name} {} {QUOTA}", quota.text()),
    };
    limits.iter().map(one).collect::<Vec<_>>().join(";")
}

fn state(record: &Record<'_>) -> Result<CredentialState, Error> {
    record.word("state", &CredentialState::ALL, CredentialState::as_str)
}

/// The networks of a key, in one text, separated by blanks.
fn networks(record: &Record<'_>) -> Result<Vec<IpNet>, Error> {
    record
        .text("networks")?
        .split_whitespace()
        .map(|network| {
            network
                .parse()
                .ok()
                .ok_or_else(|| record.corrupt("networks"))
        })
        .collect()
}

pub(super) fn find(connection: &Connection, id: KeyId) -> Result<Option<ApiKey>, Error> {
    KEYS.one(
        connection,
        "WHERE id = ?",
        [u128::from(id).to_be_bytes()],
        read,
    )
}

/// All keys. Keys with the same scopes share one set of them: a million keys have few different ones.
pub(super) fn all(connection: &Connection) -> Result<Shelf<KeyId, KeyEntry>, Error> {
    let mut sets = HashMap::new();
    ENTRIES.shelf(connection, |record| read_entry(record, &mut sets))
}

/// The sealed texts of keys that count at `now`, of a database whose schema may be older. The number is bounded: they
/// are a sample of what can be opened.
pub(super) fn sealed_texts(
    connection: &Connection,
    now: Timestamp,
) -> Result<Vec<(KeyId, Sealed)>, Error> {
    let known = "SELECT COUNT(*) FROM pragma_table_info('keys') WHERE name = 'sealed'";
    let known: i64 = connection.query_row(known, [], |row| row.get(0))?;
    if known == 0 {
        return Ok(Vec::new());
    }
    let query = "SELECT id, sealed FROM keys WHERE sealed IS NOT NULL AND state IN ('active', 'retiring') \
                 AND (expires_at IS NULL OR expires_at >= ?) LIMIT 1000";
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map([now.unix_millis()], |row| {
        let id = KeyId::from_bits(u128::from_be_bytes(row.get(0)?));
        Ok((id, Sealed::new(row.get::<_, Vec<u8>>(1)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn list(
    connection: &Connection,
    filter: &KeyFilter,
    page: &Page<KeyId>,
) -> Result<Vec<ApiKey>, Error> {
    let mut conditions = Conditions::default();
    conditions.credentials(filter, "expires_at");
    if let Some(after) = page.after {
        conditions.and("id > ?", u128::from(after).to_be_bytes().to_vec());
    }
    let query = conditions.query("id", page.limit);
    let values = rusqlite::params_from_iter(conditions.values);
    KEYS.list(connection, &query, values, read)
}

/// The keys that were changed after this revision.
pub(super) fn since(
    connection: &Connection,
    revision: i64,
) -> Result<Vec<(KeyId, KeyEntry)>, Error> {
    let sets = RefCell::default();
    ENTRIES.list(connection, "WHERE revision > ?", [revision], |record| {
        read_entry(record, &mut sets.borrow_mut())
    })
}

pub(super) fn keep(
    connection: &Connection,
    key: &Allowed<ApiKey>,
    revision: i64,
) -> Result<(), Error> {
    if key.is_new() {
        insert(connection, key.value(), revision)
    } else {
        update(connection, key.value(), revision)
    }
}

fn insert(connection: &Connection, key: &ApiKey, revision: i64) -> Result<(), Error> {
    let networks: Vec<String> = key.networks.iter().map(ToString::to_string).collect();
    let origins: Vec<&str> = key.origins.iter().map(OriginPattern::as_str).collect();
    connection
        .prepare_cached(
            "INSERT INTO keys (id, app, name, environment, digest, scopes, networks, state, created_at, \
             expires_at, revoked_at, revocation_reason, kind, digest_kind, tail, origins, limits, successor, \
             tokens_outlive, sealed, revision) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            u128::from(key.id).to_be_bytes(),
            u128::from(key.app).to_be_bytes(),
            key.name.as_str(),
            key.environment.as_str(),
            key.digest.0,
            key.scopes.to_string(),
            networks.join(" "),
            key.state.as_str(),
            key.created_at.unix_millis(),
            key.expires_at.map(Timestamp::unix_millis),
            key.revoked_at.map(Timestamp::unix_millis),
            key.revocation_reason.map(RevocationReason::as_str),
            key.kind.as_str(),
            key.digest_kind.as_str(),
            key.tail.as_ref().map(KeyTail::as_str),
            origins.join(" "),
            written(&key.limits),
            key.successor.map(|id| u128::from(id).to_be_bytes()),
            key.tokens_outlive,
            key.sealed.as_ref().map(Sealed::as_bytes),
            revision,
        ])?;
    Ok(())
}

fn update(connection: &Connection, key: &ApiKey, revision: i64) -> Result<(), Error> {
    let rows = connection
        .prepare_cached(
            "UPDATE keys SET state = ?, expires_at = ?, revoked_at = ?, revocation_reason = ?, successor = ?, \
             tokens_outlive = ?, revision = ? WHERE id = ?",
        )?
        .execute(params![
            key.state.as_str(),
            key.expires_at.map(Timestamp::unix_millis),
            key.revoked_at.map(Timestamp::unix_millis),
            key.revocation_reason.map(RevocationReason::as_str),
            key.successor.map(|id| u128::from(id).to_be_bytes()),
            key.tokens_outlive,
            revision,
            u128::from(key.id).to_be_bytes(),
        ])?;
    updated(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_those_of_keys_that_count() {
        let connection = Connection::open_in_memory().unwrap();
        let now = Timestamp::from_unix_seconds(1000);
        assert!(sealed_texts(&connection, now).unwrap().is_empty());
        let table = "CREATE TABLE keys (id BLOB, sealed BLOB, state TEXT, expires_at INTEGER)";
        connection.execute(table, []).unwrap();
        for (bits, state, end) in [
            (1u128, "active", None),
            (2, "retiring", Some(1000)),
            (3, "active", Some(999)),
            (4, "retiring", Some(999)),
            (5, "revoked", None),
            (6, "expired", None),
        ] {
            let end = end.map(|end| Timestamp::from_unix_seconds(end).unix_millis());
            let row = (bits.to_be_bytes().to_vec(), vec![1u8], state, end);
            let insert = "INSERT INTO keys VALUES (?, ?, ?, ?)";
            connection.execute(insert, row).unwrap();
        }
        let texts = sealed_texts(&connection, now).unwrap();
        let ids: Vec<_> = texts.into_iter().map(|(id, _)| u128::from(id)).collect();
        assert_eq!(ids, [1, 2]);
    }
}
