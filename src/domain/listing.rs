//! What a list is asked for: which part of it, and which of its things.

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

/// Which credentials of a kind are asked for: those for which every condition holds that is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CredentialFilter {
    pub app: Option<AppId>,
    /// Those that end before this time and are not revoked; what ended already is the most urgent, and included.
    pub expiring_before: Option<Timestamp>,
    pub state: Option<CredentialState>,
    /// When `state` is asked for: what ran out before it is `expired` and nothing else.
    /// Without it the registry's own word is compared, which knows no clock.
    pub at: Option<Timestamp>,
}

/// Which certificates are asked for.
pub type CertificateFilter = CredentialFilter;

/// Which keys are asked for.
pub type KeyFilter = CredentialFilter;

/// Which audit events are asked for: those for which every condition holds that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub app: Option<AppId>,
    /// The whole action, for example `cert.revoke`.
    pub action: Option<String>,
    /// The whole id of what was changed.
    pub subject: Option<String>,
}
