//! Refusals of the token service, in the terms of RFC 6749, 5.2.

use crate::domain::reason::Reason;

/// A refused token: `code`, `shown` and `description` for the client, `reason` for the record only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct TokenError {
    pub code: &'static str,
    pub reason: Reason,
    pub shown: Reason,
    pub description: &'static str,
}

impl TokenError {
    /// A refusal whose reason the client may learn.
    pub const fn new(code: &'static str, reason: Reason, description: &'static str) -> Self {
        Self {
            code,
            reason,
            shown: reason.shown(),
            description,
        }
    }
}

/// The one answer for every client that did not authenticate; only a client that sent no credential learns that. The
/// reason is for the record.
pub const fn unproved_client(reason: Reason) -> TokenError {
    TokenError {
        shown: match reason {
            Reason::CertMissing | Reason::CredentialMissing => reason,
            _ => Reason::CredentialInvalid,
        },
        ..proved_client(reason)
    }
}

/// The answer for a client that has proved its Key, while the Key or its App is not valid.
pub const fn proved_client(reason: Reason) -> TokenError {
    TokenError::new(
        "invalid_client",
        reason,
        "the client is not known, or did not prove itself",
    )
}
