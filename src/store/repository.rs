//! What every store promises; `contract.rs` tests it.

use std::fmt;
use std::sync::Arc;

use crate::domain::admin::AdminToken;
use crate::domain::api_key::ApiKey;
use crate::domain::app::App;
use crate::domain::certificate::{Certificate, Fingerprint};
use crate::domain::id::{AdminTokenId, AppId, AuditEventId, CertificateId, KeyId};
use crate::domain::listing::{AuditFilter, CertificateFilter, CertificateMark, KeyFilter, Page};
use crate::domain::name::Name;
use crate::domain::record::AuditEvent;
use crate::domain::shelf::Shelf;
use crate::domain::snapshot::{CertificateEntry, KeyEntry};

use super::change::Change;
use super::error::Error;

/// The registry and its audit trail, kept.
///
/// Calls block on a disk: async callers wrap them in `spawn_blocking`. A miss is `None`.
/// Lists come in the order of ids, which is the order of making; the audit trail comes newest first.
pub trait Store: Send + Sync + fmt::Debug {
    /// All that a snapshot needs, as it was at one moment.
    fn load(&self) -> Result<Contents, Error>;

    /// How many times the store was changed; 0 for a new one.
    fn revision(&self) -> Result<u64, Error>;

    /// Finds out whether the store can be read and written; writes nothing that anybody reads.
    fn check(&self) -> Result<(), Error>;

    fn app(&self, id: AppId) -> Result<Option<App>, Error>;
    fn app_by_name(&self, name: &Name) -> Result<Option<App>, Error>;
    fn apps(&self, page: &Page<AppId>) -> Result<Vec<App>, Error>;

    fn certificate(&self, id: CertificateId) -> Result<Option<Certificate>, Error>;
    fn certificates(
        &self,
        filter: &CertificateFilter,
        page: &Page<CertificateId>,
    ) -> Result<Vec<Certificate>, Error>;
    /// The certificates with this fingerprint or serial number; each authority counts its own serial numbers.
    fn certificates_by_mark(&self, mark: &CertificateMark) -> Result<Vec<Certificate>, Error>;
    /// Every certificate that was ever registered with this public key.
    fn certificates_by_key(&self, digest: &Fingerprint) -> Result<Vec<Certificate>, Error>;

    fn key(&self, id: KeyId) -> Result<Option<ApiKey>, Error>;
    fn keys(&self, filter: &KeyFilter, page: &Page<KeyId>) -> Result<Vec<ApiKey>, Error>;

    fn admin_token(&self, id: AdminTokenId) -> Result<Option<AdminToken>, Error>;
    fn admin_tokens(&self, page: &Page<AdminTokenId>) -> Result<Vec<AdminToken>, Error>;

    /// Audit events in the reverse order of their writing.
    fn audit(
        &self,
        filter: &AuditFilter,
        page: &Page<AuditEventId>,
    ) -> Result<Vec<AuditEvent>, Error>;

    /// Makes all the changes in their order and writes `event`, or does none of it. Answers with the new revision,
    /// which is one more than before, once all is safe on disk.
    ///
    /// No change at all is allowed: the event alone is then what happened.
    fn change(&self, changes: &[Change], event: &AuditEvent) -> Result<u64, Error>;
}

/// All that a snapshot needs, in the form that it needs it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub revision: u64,
    pub apps: Shelf<AppId, Arc<App>>,
    pub certificates: Shelf<Fingerprint, CertificateEntry>,
    pub keys: Shelf<KeyId, KeyEntry>,
}
