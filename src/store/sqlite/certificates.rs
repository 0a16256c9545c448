//! Certificates: the columns for requests in one table, the documents in another.

use rusqlite::{Connection, params};

use super::super::error::Error;
use super::filter::Conditions;
use super::table::{Record, Table, updated};
use crate::domain::certificate::{Certificate, Fingerprint, KeyAlgorithm, SerialNumber};
use crate::domain::credential::{CredentialState, RevocationReason};
use crate::domain::id::{AppId, AuthorityId, CertificateId};
use crate::domain::listing::{CertificateFilter, CertificateMark, Page};
use crate::domain::registry::change::Allowed;
use crate::domain::shelf::Shelf;
use crate::domain::snapshot::CertificateEntry;
use crate::domain::time::{Timestamp, Validity};

static CERTIFICATES: Table = Table {
    name: "certificates",
    columns: &[
        "id",
        "app",
        "name",
        "authority",
        "fingerprint",
        "key_digest",
        "serial",
        "key",
        "subject",
        "not_before",
        "not_after",
        "state",
        "created_at",
        "revoked_at",
        "revocation_reason",
    ],
    show,
};

/// The columns for a snapshot: only these are read of a million rows at start.
static ENTRIES: Table = Table {
    name: "certificates",
    columns: &[
        "id",
        "app",
        "fingerprint",
        "serial",
        "not_before",
        "not_after",
        "state",
    ],
    show,
};

static DOCUMENTS: Table = Table {
    name: "certificate_documents",
    columns: &["id", "pem"],
    show,
};

fn show(bits: u128) -> String {
    CertificateId::from_bits(bits).to_string()
}

/// Reads all columns but the document.
fn read(record: &Record<'_>) -> Result<Certificate, Error> {
    Ok(Certificate {
        id: CertificateId::from_bits(record.bits("id")?),
        app: AppId::from_bits(record.bits("app")?),
        name: record.parsed("name")?,
        authority: AuthorityId::from_bits(record.bits("authority")?),
        fingerprint: record.value("fingerprint").map(Fingerprint::from_bytes)?,
        key_digest: record.value("key_digest").map(Fingerprint::from_bytes)?,
        serial: serial(record)?,
        key: record.word("key", &KeyAlgorithm::ALL, KeyAlgorithm::as_str)?,
        subject: record.value("subject")?,
        validity: validity(record)?,
        state: state(record)?,
        created_at: record.time("created_at")?,
        revoked_at: record.time_if_any("revoked_at")?,
        revocation_reason: record.word_if_any(
            "revocation_reason",
            &RevocationReason::ALL,
            RevocationReason::as_str,
        )?,
        pem: String::new(),
    })
}

fn read_entry(record: &Record<'_>) -> Result<(Fingerprint, CertificateEntry), Error> {
    let entry = CertificateEntry {
        id: CertificateId::from_bits(record.bits("id")?),
        app: AppId::from_bits(record.bits("app")?),
        serial: serial(record)?,
        validity: validity(record)?,
        state: state(record)?,
    };
    Ok((
        record.value("fingerprint").map(Fingerprint::from_bytes)?,
        entry,
    ))
}

fn serial(record: &Record<'_>) -> Result<SerialNumber, Error> {
    SerialNumber::from_bytes(record.octets("serial")?)
        .ok()
        .ok_or_else(|| record.corrupt("serial"))
}

fn validity(record: &Record<'_>) -> Result<Validity, Error> {
    Ok(Validity {
        not_before: record.time("not_before")?,
        not_after: record.time("not_after")?,
    })
}

fn state(record: &Record<'_>) -> Result<CredentialState, Error> {
    record.word("state", &CredentialState::ALL, CredentialState::as_str)
}

/// Reads certificates, each with its document.
fn select(
    connection: &Connection,
    rest: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Certificate>, Error> {
    let mut certificates = CERTIFICATES.list(connection, rest, params, read)?;
    for certificate in &mut certificates {
        certificate.pem = document(connection, certificate.id)?;
    }
    Ok(certificates)
}

fn document(connection: &Connection, id: CertificateId) -> Result<String, Error> {
    let bytes = u128::from(id).to_be_bytes();
    let read = |record: &Record<'_>| record.value("pem");
    DOCUMENTS
        .one(connection, "WHERE id = ?", [bytes], read)?
        .ok_or_else(|| Error::Corrupt {
            table: DOCUMENTS.name,
            column: "pem",
            row: id.to_string(),
        })
}

pub(super) fn find(
    connection: &Connection,
    id: CertificateId,
) -> Result<Option<Certificate>, Error> {
    let found = select(connection, "WHERE id = ?", [u128::from(id).to_be_bytes()])?;
    Ok(found.into_iter().next())
}

pub(super) fn find_by_mark(
    connection: &Connection,
    mark: &CertificateMark,
) -> Result<Vec<Certificate>, Error> {
    match mark {
        CertificateMark::Fingerprint(fingerprint) => select(
            connection,
            "WHERE fingerprint = ? ORDER BY id",
            [fingerprint.as_bytes()],
        ),
        CertificateMark::Serial(serial) => select(
            connection,
            "WHERE serial = ? ORDER BY id",
            [serial.as_bytes()],
        ),
    }
}

pub(super) fn find_by_key(
    connection: &Connection,
    digest: &Fingerprint,
) -> Result<Vec<Certificate>, Error> {
    let rest = "WHERE key_digest = ? ORDER BY id";
    select(connection, rest, [digest.as_bytes()])
}

pub(super) fn all(connection: &Connection) -> Result<Shelf<Fingerprint, CertificateEntry>, Error> {
    ENTRIES.shelf(connection, read_entry)
}

pub(super) fn list(
    connection: &Connection,
    filter: &CertificateFilter,
    page: &Page<CertificateId>,
) -> Result<Vec<Certificate>, Error> {
    // A certificate is valid until the end of the second that it names.
    let filter = CertificateFilter {
        at: filter.at.map(Timestamp::whole_seconds),
        ..*filter
    };
    let mut conditions = Conditions::default();
    conditions.credentials(&filter, "not_after");
    if let Some(after) = page.after {
        conditions.and("id > ?", u128::from(after).to_be_bytes().to_vec());
    }
    let query = conditions.query("id", page.limit);
    let values = rusqlite::params_from_iter(conditions.values);
    select(connection, &query, values)
}

/// The certificates that were changed after this revision.
pub(super) fn since(
    connection: &Connection,
    revision: i64,
) -> Result<Vec<(Fingerprint, CertificateEntry)>, Error> {
    ENTRIES.list(connection, "WHERE revision > ?", [revision], read_entry)
}

pub(super) fn keep(
    connection: &Connection,
    certificate: &Allowed<Certificate>,
    revision: i64,
) -> Result<(), Error> {
    if certificate.is_new() {
        insert(connection, certificate.value(), revision)
    } else {
        update(connection, certificate.value(), revision)
    }
}

fn insert(connection: &Connection, certificate: &Certificate, revision: i64) -> Result<(), Error> {
    let id = u128::from(certificate.id).to_be_bytes();
    connection
        .prepare_cached(
            "INSERT INTO certificates (id, app, name, authority, fingerprint, key_digest, serial, key, subject, \
             not_before, not_after, state, created_at, revoked_at, revocation_reason, revision) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            id,
            u128::from(certificate.app).to_be_bytes(),
            certificate.name.as_str(),
            u128::from(certificate.authority).to_be_bytes(),
            certificate.fingerprint.as_bytes(),
            certificate.key_digest.as_bytes(),
            certificate.serial.as_bytes(),
            certificate.key.as_str(),
            certificate.subject,
            certificate.validity.not_before.unix_millis(),
            certificate.validity.not_after.unix_millis(),
            certificate.state.as_str(),
            certificate.created_at.unix_millis(),
            certificate.revoked_at.map(Timestamp::unix_millis),
            certificate.revocation_reason.map(RevocationReason::as_str),
            revision,
        ])?;
    connection
        .prepare_cached("INSERT INTO certificate_documents (id, pem) VALUES (?, ?)")?
        .execute(params![id, certificate.pem])?;
    Ok(())
}

fn update(connection: &Connection, certificate: &Certificate, revision: i64) -> Result<(), Error> {
    let rows = connection
        .prepare_cached(
            "UPDATE certificates SET state = ?, revoked_at = ?, revocation_reason = ?, revision = ? \
             WHERE id = ?",
        )?
        .execute(params![
            certificate.state.as_str(),
            certificate.revoked_at.map(Timestamp::unix_millis),
            certificate.revocation_reason.map(RevocationReason::as_str),
            revision,
            u128::from(certificate.id).to_be_bytes(),
        ])?;
    updated(rows)
}
