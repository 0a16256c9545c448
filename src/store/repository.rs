//! The promises of every store; `contract.rs` tests them.

use std::fmt;
use std::sync::Arc;

use crate::domain::admin::AdminToken;
use crate::domain::api_key::{ApiKey, KeyUse};
use crate::domain::app::App;
use crate::domain::certificate::{Certificate, Fingerprint};
use crate::domain::id::{AdminTokenId, AppId, AuditEventId, CertificateId, KeyId};
use crate::domain::listing::{AuditFilter, CertificateFilter, CertificateMark, KeyFilter, Page};
use crate::domain::name::Name;
use crate::domain::quota::QuotaUse;
use crate::domain::record::AuditEvent;
use crate::domain::shelf::Shelf;
use crate::domain::snapshot::{CertificateEntry, KeyEntry};
use crate::domain::succession::Entry;
use crate::domain::time::Timestamp;
use crate::domain::token_end::TokensOf;

use super::act::Act;
use super::error::Error;

/// The registry and its audit trail, persistent.
///
/// Calls block on a disk: async callers wrap them in `spawn_blocking`. A miss is `None`. Lists come in the order of
/// ids, which is the order of creation; the audit trail comes newest first.
///
/// A store has no rules: `domain::registry` has allowed what it is to keep. It guarantees that nothing has changed since
/// the rules were asked.
pub trait Store: Send + Sync + fmt::Debug {
    /// All data for a snapshot, as of one moment.
    fn load(&self) -> Result<Contents, Error>;

    /// The number of changes to the store; 0 for a new one.
    fn revision(&self) -> Result<u64, Error>;

    /// Checks that the store can be read and written; writes nothing that anybody reads.
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
    /// The certificates with this fingerprint or serial number; each authority has its own serial numbers.
    fn certificates_by_mark(&self, mark: &CertificateMark) -> Result<Vec<Certificate>, Error>;
    /// Every certificate that was ever registered with this public key.
    fn certificates_by_key(&self, digest: &Fingerprint) -> Result<Vec<Certificate>, Error>;

    fn key(&self, id: KeyId) -> Result<Option<ApiKey>, Error>;
    fn keys(&self, filter: &KeyFilter, page: &Page<KeyId>) -> Result<Vec<ApiKey>, Error>;

    /// The last uses of these keys, as far as they are known.
    fn key_uses(&self, ids: &[KeyId]) -> Result<Vec<(KeyId, KeyUse)>, Error>;
    /// Keeps the last uses of keys, without a revision and an event; those of unknown keys are left out, and so are
    /// those that are older than the stored ones.
    fn keep_key_uses(&self, uses: &[(KeyId, KeyUse)]) -> Result<(), Error>;

    /// The uses of quotas whose windows have not ended at `now`.
    fn quota_uses(&self, now: Timestamp) -> Result<Vec<QuotaUse>, Error>;
    /// Keeps the uses of quotas in place of the earlier ones, without a revision and an event, forgets those in `gone`,
    /// and some that have ended at `now`.
    fn keep_quota_uses(
        &self,
        uses: &[QuotaUse],
        gone: &[QuotaUse],
        now: Timestamp,
    ) -> Result<(), Error>;

    fn admin_token(&self, id: AdminTokenId) -> Result<Option<AdminToken>, Error>;
    fn admin_tokens(&self, page: &Page<AdminTokenId>) -> Result<Vec<AdminToken>, Error>;

    /// Audit events, the newest first.
    fn audit(
        &self,
        filter: &AuditFilter,
        page: &Page<AuditEventId>,
    ) -> Result<Vec<AuditEvent>, Error>;

    /// The entries of a snapshot that have changed since this revision, as of one moment.
    fn changes_since(&self, revision: u64) -> Result<Since, Error>;

    /// Keeps all these acts in their order, or none. Each adds one to the revision. Returns once all are safe on disk.
    ///
    /// A conflict, `Moved`, if the store is not at the revision `expected`.
    fn change(&self, expected: u64, acts: &[Act]) -> Result<(), Error>;
}

/// Changes to a snapshot that were stored after an earlier revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// The store's revision now.
    pub revision: u64,
    /// Each changed entry once, with its value now.
    pub entries: Vec<Entry>,
}

/// All data for a snapshot, in the snapshot's form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub revision: u64,
    pub apps: Shelf<AppId, Arc<App>>,
    pub certificates: Shelf<Fingerprint, CertificateEntry>,
    pub keys: Shelf<KeyId, KeyEntry>,
    pub token_ends: Shelf<TokensOf, Timestamp>,
}
