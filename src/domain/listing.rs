//! Queries of lists: the part, and the filters.

use super::credential::CredentialState;
use super::id::AppId;
use super::time::Timestamp;

/// A part of a list: at most `limit` things, beginning behind `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<Id> {
    /// The last thing of the part before this one; absent for the first part.
    pub after: Option<Id>,
    pub limit: u32,
}

impl<Id> Page<Id> {
    /// The beginning of a list.
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }
}

/// The filter for credentials of a kind; every condition that is set must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CredentialFilter {
    pub app: Option<AppId>,
    /// Those that end before this time and are not revoked; what ended already is the most urgent, and included.
    pub expiring_before: Option<Timestamp>,
    pub state: Option<CredentialState>,
    /// The time of the query by `state`: a credential that expired before it is `expired` and nothing else.
    /// Without it, the registry's state is compared, which knows no clock.
    pub at: Option<Timestamp>,
}

/// The filter for certificates.
pub type CertificateFilter = CredentialFilter;

/// The filter for keys.
pub type KeyFilter = CredentialFilter;

/// The filter for audit events; every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub app: Option<AppId>,
    /// The whole action, for example `cert.revoke`.
    pub action: Option<String>,
    /// The whole id of what was changed.
    pub subject: Option<String>,
}
