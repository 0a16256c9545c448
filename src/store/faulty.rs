//! A store for tests that fails, or is changed by somebody else, when the test wants it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::act::Act;
use super::error::Error;
use super::repository::{Contents, Since, Store};
use crate::domain::admin::AdminToken;
use crate::domain::api_key::{ApiKey, KeyUse};
use crate::domain::app::App;
use crate::domain::certificate::{Certificate, Fingerprint};
use crate::domain::id::{AdminTokenId, AppId, AuditEventId, CertificateId, KeyId};
use crate::domain::listing::{AuditFilter, CertificateFilter, CertificateMark, KeyFilter, Page};
use crate::domain::name::Name;
use crate::domain::quota::QuotaUse;
use crate::domain::record::AuditEvent;
use crate::domain::time::Timestamp;

/// An event before a change reaches the store: a failure, or an act of another process.
pub type Before = Box<dyn FnOnce(&dyn Store) -> Result<(), Error> + Send>;

/// A store with a list of events, one for each of the next changes.
pub struct Faulty {
    pub store: Arc<dyn Store>,
    pub before: Mutex<VecDeque<Before>>,
    /// The failure of the next reading of changes.
    pub unreadable: Mutex<Option<Error>>,
}

impl Faulty {
    pub fn new(store: Arc<dyn Store>, before: impl IntoIterator<Item = Before>) -> Self {
        Self {
            store,
            before: Mutex::new(before.into_iter().collect()),
            unreadable: Mutex::default(),
        }
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl Store for Faulty {
    fn load(&self) -> Result<Contents, Error> {
        self.store.load()
    }

    fn revision(&self) -> Result<u64, Error> {
        self.store.revision()
    }

    fn check(&self) -> Result<(), Error> {
        self.store.check()
    }

    fn app(&self, id: AppId) -> Result<Option<App>, Error> {
        self.store.app(id)
    }

    fn app_by_name(&self, name: &Name) -> Result<Option<App>, Error> {
        self.store.app_by_name(name)
    }

    fn apps(&self, page: &Page<AppId>) -> Result<Vec<App>, Error> {
        self.store.apps(page)
    }

    fn certificate(&self, id: CertificateId) -> Result<Option<Certificate>, Error> {
        self.store.certificate(id)
    }

    fn certificates(
        &self,
        filter: &CertificateFilter,
        page: &Page<CertificateId>,
    ) -> Result<Vec<Certificate>, Error> {
        self.store.certificates(filter, page)
    }

    fn certificates_by_mark(&self, mark: &CertificateMark) -> Result<Vec<Certificate>, Error> {
        self.store.certificates_by_mark(mark)
    }

    fn certificates_by_key(&self, digest: &Fingerprint) -> Result<Vec<Certificate>, Error> {
        self.store.certificates_by_key(digest)
    }

    fn key(&self, id: KeyId) -> Result<Option<ApiKey>, Error> {
        self.store.key(id)
    }

    fn keys(&self, filter: &KeyFilter, page: &Page<KeyId>) -> Result<Vec<ApiKey>, Error> {
        self.store.keys(filter, page)
    }

    fn key_uses(&self, ids: &[KeyId]) -> Result<Vec<(KeyId, KeyUse)>, Error> {
        self.store.key_uses(ids)
    }

    fn keep_key_uses(&self, uses: &[(KeyId, KeyUse)]) -> Result<(), Error> {
        self.store.keep_key_uses(uses)
    }

    fn quota_uses(&self, now: Timestamp) -> Result<Vec<QuotaUse>, Error> {
        self.store.quota_uses(now)
    }

    fn keep_quota_uses(
        &self,
        uses: &[QuotaUse],
        gone: &[QuotaUse],
        now: Timestamp,
    ) -> Result<(), Error> {
        self.store.keep_quota_uses(uses, gone, now)
    }

    fn admin_token(&self, id: AdminTokenId) -> Result<Option<AdminToken>, Error> {
        self.store.admin_token(id)
    }

    fn admin_tokens(&self, page: &Page<AdminTokenId>) -> Result<Vec<AdminToken>, Error> {
        self.store.admin_tokens(page)
    }

    fn audit(
        &self,
        filter: &AuditFilter,
        page: &Page<AuditEventId>,
    ) -> Result<Vec<AuditEvent>, Error> {
        self.store.audit(filter, page)
    }

    fn changes_since(&self, revision: u64) -> Result<Since, Error> {
        match self.unreadable.lock().unwrap().take() {
            Some(error) => Err(error),
            None => self.store.changes_since(revision),
        }
    }

    fn change(&self, expected: u64, acts: &[Act]) -> Result<(), Error> {
        let before = self.before.lock().unwrap().pop_front();
        before.map_or(Ok(()), |before| before(&*self.store))?;
        self.store.change(expected, acts)
    }
}
