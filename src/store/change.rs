//! The changes that the registry knows; each says what must hold for it.

use crate::domain::admin::AdminToken;
use crate::domain::api_key::ApiKey;
use crate::domain::app::{App, AppState};
use crate::domain::certificate::Certificate;
use crate::domain::credential::RevocationReason;
use crate::domain::id::{AdminTokenId, AppId, CertificateId, KeyId};
use crate::domain::time::Timestamp;

/// One change to the registry. What is said here to be refused is a conflict, and an id that is not stored is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Refused when another App has the name.
    CreateApp(App),
    /// Refused when the App is not in the state `from` (any more), and always when `from` is revoked.
    SetAppState {
        id: AppId,
        from: AppState,
        to: AppState,
    },
    /// Refused when the App is revoked, has `active_max` certificates that count at `now`,
    /// when another App has a certificate with the same key, and when one with that key was revoked for key compromise.
    AddCertificate {
        certificate: Certificate,
        active_max: u32,
        now: Timestamp,
    },
    /// Refused when the certificate is revoked already.
    RevokeCertificate {
        id: CertificateId,
        at: Timestamp,
        reason: RevocationReason,
    },
    /// Refused unless the certificate is active.
    RetireCertificate {
        id: CertificateId,
    },
    /// Refused when the App is revoked.
    CreateKey(ApiKey),
    /// Refused unless the key is active. A key that ends before `expires_at` keeps its own end.
    RetireKey {
        id: KeyId,
        expires_at: Timestamp,
    },
    /// Refused when the key is revoked already.
    RevokeKey {
        id: KeyId,
        at: Timestamp,
        reason: RevocationReason,
    },
    CreateAdminToken(AdminToken),
    /// Refused when the token is revoked already.
    RevokeAdminToken {
        id: AdminTokenId,
        at: Timestamp,
    },
}
