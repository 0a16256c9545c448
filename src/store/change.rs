//! The changes to the registry, each with its conditions.

use crate::domain::admin::AdminToken;
use crate::domain::api_key::ApiKey;
use crate::domain::app::{App, AppState};
use crate::domain::certificate::Certificate;
use crate::domain::credential::RevocationReason;
use crate::domain::id::{AdminTokenId, AppId, CertificateId, KeyId};
use crate::domain::time::Timestamp;

/// One change to the registry. A refusal below is a conflict, and an id that is not stored is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new App. Refused when another App has the name.
    CreateApp(App),
    /// An App's new state. Refused when the App is not in the state `from` (any more), and always when `from` is
    /// revoked.
    SetAppState {
        id: AppId,
        from: AppState,
        to: AppState,
    },
    /// A new certificate. Refused when the App is revoked, has `active_max` certificates that are valid at `now`, when
    /// another App has a certificate with the same key, and when one with that key was revoked for key compromise.
    AddCertificate {
        certificate: Certificate,
        active_max: u32,
        now: Timestamp,
    },
    /// A revocation. Refused when the certificate is revoked already.
    RevokeCertificate {
        id: CertificateId,
        at: Timestamp,
        reason: RevocationReason,
    },
    /// The end of a certificate that has a successor. Refused unless the certificate is active.
    RetireCertificate {
        id: CertificateId,
    },
    /// A new key. Refused when the App is revoked.
    CreateKey(ApiKey),
    /// The end of a key that has a successor. Refused unless the key is active. A key that ends before `expires_at`
    /// keeps its own end.
    RetireKey {
        id: KeyId,
        expires_at: Timestamp,
    },
    /// A revocation. Refused when the key is revoked already.
    RevokeKey {
        id: KeyId,
        at: Timestamp,
        reason: RevocationReason,
    },
    CreateAdminToken(AdminToken),
    /// A revocation. Refused when the token is revoked already.
    RevokeAdminToken {
        id: AdminTokenId,
        at: Timestamp,
    },
}
