//! The SQLite backend of the store.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::super::act::Act;
use super::super::error::Error;
use super::super::repository::{Contents, Since, Store};
use super::super::sessions::{Concerned, Rule, Sessions};
use super::super::tickets::{Put, Ticket, TicketId, Tickets};
use super::grouped::Grouped;
use super::pool::Pool;
use super::probe::{self, WriteProof};
use super::{
    admin_tokens, apps, audit, certificates, changes, early, file, key_uses, keys, quota_uses,
    sessions, tickets, token_ends,
};
use crate::domain::admin::AdminToken;
use crate::domain::api_key::{ApiKey, KeyUse};
use crate::domain::app::App;
use crate::domain::certificate::{Certificate, Fingerprint};
use crate::domain::id::{AdminTokenId, AppId, AuditEventId, CertificateId, KeyId, SessionId};
use crate::domain::listing::{
    AuditFilter, CertificateFilter, CertificateMark, KeyFilter, Page, SessionFilter,
};
use crate::domain::name::Name;
use crate::domain::quota::QuotaUse;
use crate::domain::record::AuditEvent;
use crate::domain::registry::change::Allowed;
use crate::domain::registry::sessions::SessionChanges;
use crate::domain::sealed::Sealed;
use crate::domain::session::Session;
use crate::domain::time::Timestamp;
use crate::domain::token_end::TokenEnd;

/// Connections that read. Administrators are few, and requests never use the store.
const READERS: usize = 4;

/// A store in one SQLite file, or in memory.
#[derive(Debug)]
pub struct SqliteStore {
    pool: Pool,
    /// The uses of tickets that wait for the writer.
    uses: Grouped,
    /// The content that was read during the check of the file, until its first use.
    early: Mutex<Option<Contents>>,
    proof: WriteProof,
}

impl SqliteStore {
    /// Opens the store in the file at `path`, and creates it when there is no file.
    ///
    /// Refuses a file that is damaged, empty, unreadable, another program's, or written by a newer version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (writer, early) = file::open_writer(path, || early::read(path))?;
        let readers: Result<Vec<_>, _> = (0..READERS).map(|_| file::open_reader(path)).collect();
        Ok(Self {
            pool: Pool::new(writer, readers?),
            uses: Grouped::default(),
            early: Mutex::new(early),
            proof: WriteProof::default(),
        })
    }

    /// Checks that [`open`](Self::open) would find a store at `path`, or nothing. Changes nothing.
    pub fn examine(path: &Path) -> Result<(), Error> {
        file::examine(path)
    }

    /// The sealed texts of keys that count at `now` in the file at `path`, if there is one. Changes nothing.
    pub fn sealed_texts(path: &Path, now: Timestamp) -> Result<Vec<(KeyId, Sealed)>, Error> {
        if !path.exists() {
            return Ok(Vec::new());
        }
        keys::sealed_texts(&file::open_other(path)?, now)
    }

    fn take_early(&self) -> Option<Contents> {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        early.take()
    }

    /// A store in memory, gone when it is dropped.
    #[cfg(test)]
    pub fn in_memory() -> Result<Self, Error> {
        Ok(Self {
            pool: Pool::new(file::open_in_memory()?, Vec::new()),
            uses: Grouped::default(),
            early: Mutex::default(),
            proof: WriteProof::default(),
        })
    }
}

impl Store for SqliteStore {
    fn load(&self) -> Result<Contents, Error> {
        self.pool.read(|connection| {
            let revision = changes::revision(connection)?;
            // Another process may have changed the store since.
            let early = self.take_early().filter(|early| early.revision == revision);
            if let Some(early) = early {
                return Ok(Contents {
                    token_ends: token_ends::all(connection)?,
                    ..early
                });
            }
            Ok(Contents {
                revision,
                apps: apps::all(connection)?,
                certificates: certificates::all(connection)?,
                keys: keys::all(connection)?,
                token_ends: token_ends::all(connection)?,
            })
        })
    }

    fn revision(&self) -> Result<u64, Error> {
        self.pool.query(changes::revision)
    }

    fn check(&self) -> Result<(), Error> {
        self.revision()?;
        if self.proof.is_needed() {
            let written = self.pool.write(probe::write);
            self.proof.note(&written);
            written?;
        }
        Ok(())
    }

    fn app(&self, id: AppId) -> Result<Option<App>, Error> {
        self.pool.query(|connection| apps::find(connection, id))
    }

    fn app_by_name(&self, name: &Name) -> Result<Option<App>, Error> {
        self.pool
            .query(|connection| apps::find_by_name(connection, name))
    }

    fn apps(&self, page: &Page<AppId>) -> Result<Vec<App>, Error> {
        self.pool.query(|connection| apps::list(connection, page))
    }

    fn certificate(&self, id: CertificateId) -> Result<Option<Certificate>, Error> {
        self.pool
            .query(|connection| certificates::find(connection, id))
    }

    fn certificates(
        &self,
        filter: &CertificateFilter,
        page: &Page<CertificateId>,
    ) -> Result<Vec<Certificate>, Error> {
        self.pool
            .read(|connection| certificates::list(connection, filter, page))
    }

    fn certificates_by_mark(&self, mark: &CertificateMark) -> Result<Vec<Certificate>, Error> {
        self.pool
            .query(|connection| certificates::find_by_mark(connection, mark))
    }

    fn certificates_by_key(&self, digest: &Fingerprint) -> Result<Vec<Certificate>, Error> {
        self.pool
            .query(|connection| certificates::find_by_key(connection, digest))
    }

    fn key(&self, id: KeyId) -> Result<Option<ApiKey>, Error> {
        self.pool.query(|connection| keys::find(connection, id))
    }

    fn keys(&self, filter: &KeyFilter, page: &Page<KeyId>) -> Result<Vec<ApiKey>, Error> {
        self.pool
            .read(|connection| keys::list(connection, filter, page))
    }

    fn key_uses(&self, ids: &[KeyId]) -> Result<Vec<(KeyId, KeyUse)>, Error> {
        self.pool.read(|connection| key_uses::find(connection, ids))
    }

    fn keep_key_uses(&self, uses: &[(KeyId, KeyUse)]) -> Result<(), Error> {
        let uses = uses.to_vec();
        self.uses.write(&self.pool, move |connection| {
            key_uses::keep(connection, &uses)
        })
    }

    fn quota_uses(&self, now: Timestamp) -> Result<Vec<QuotaUse>, Error> {
        self.pool
            .read(|connection| quota_uses::all(connection, now))
    }

    fn keep_quota_uses(
        &self,
        uses: &[QuotaUse],
        gone: &[QuotaUse],
        now: Timestamp,
    ) -> Result<(), Error> {
        let (uses, gone) = (uses.to_vec(), gone.to_vec());
        self.uses.write(&self.pool, move |connection| {
            quota_uses::keep(connection, &uses, &gone, now)
        })
    }

    fn admin_token(&self, id: AdminTokenId) -> Result<Option<AdminToken>, Error> {
        self.pool
            .query(|connection| admin_tokens::find(connection, id))
    }

    fn admin_tokens(&self, page: &Page<AdminTokenId>) -> Result<Vec<AdminToken>, Error> {
        self.pool
            .read(|connection| admin_tokens::list(connection, page))
    }

    fn audit(
        &self,
        filter: &AuditFilter,
        page: &Page<AuditEventId>,
    ) -> Result<Vec<AuditEvent>, Error> {
        self.pool
            .read(|connection| audit::list(connection, filter, page))
    }

    fn changes_since(&self, revision: u64) -> Result<Since, Error> {
        self.pool
            .read(|connection| changes::since(connection, revision))
    }

    fn change(&self, expected: u64, acts: &[Act]) -> Result<(), Error> {
        let made = self
            .pool
            .write(|connection| changes::make(connection, expected, acts));
        self.proof.note(&made);
        made
    }
}

impl Sessions for SqliteStore {
    fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        self.pool.read(|connection| sessions::find(connection, id))
    }

    fn sessions(
        &self,
        filter: &SessionFilter,
        page: &Page<SessionId>,
    ) -> Result<Vec<Session>, Error> {
        self.pool
            .read(|connection| sessions::list(connection, filter, page))
    }

    fn change(&self, concerned: Concerned, rule: Rule) -> Result<SessionChanges, Error> {
        self.uses.write(&self.pool, move |connection| {
            sessions::change(connection, &concerned, &rule)
        })
    }

    fn end_token(&self, end: Allowed<TokenEnd>, max: u32) -> Result<bool, Error> {
        self.uses.write(&self.pool, move |connection| {
            let end = end.value();
            let fits = token_ends::count(connection, end.app, max)? < max;
            if fits {
                token_ends::keep(connection, end, 0)?;
            }
            Ok(fits)
        })
    }

    fn sweep(&self, before: Timestamp, now: Timestamp, max: u32) -> Result<u32, Error> {
        self.uses.write(&self.pool, move |connection| {
            let ends = token_ends::sweep(connection, now, max)?;
            Ok(ends + sessions::sweep(connection, before, max)?)
        })
    }
}

impl Tickets for SqliteStore {
    fn put(&self, ticket: Ticket, now: Timestamp) -> Result<bool, Error> {
        self.uses.write(&self.pool, move |connection| {
            tickets::put(connection, &ticket, None, now)
        })
    }

    fn put_within(
        &self,
        ticket: Ticket,
        app: AppId,
        max: u32,
        now: Timestamp,
    ) -> Result<Put, Error> {
        self.uses.write(&self.pool, move |connection| {
            tickets::put_within(connection, &ticket, app, max, now)
        })
    }

    fn ticket(&self, id: &TicketId, now: Timestamp) -> Result<Option<Ticket>, Error> {
        self.pool
            .query(|connection| tickets::find(connection, id, now))
    }

    fn take(&self, id: &TicketId, now: Timestamp) -> Result<Option<Ticket>, Error> {
        let id = *id;
        self.uses.write(&self.pool, move |connection| {
            tickets::take(connection, &id, now)
        })
    }

    fn sweep(&self, now: Timestamp, max: u32) -> Result<u32, Error> {
        self.uses.write(&self.pool, move |connection| {
            tickets::sweep(connection, now, max)
        })
    }
}
