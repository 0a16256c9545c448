//! Refusals of the token service, in the terms of RFC 6749, 5.2.

use crate::control::error::Error;
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

/// The one answer for every auth token, refresh token and subject token that is not accepted. The reason is for the
/// record.
pub const fn bad_grant(reason: Reason) -> TokenError {
    TokenError {
        code: "invalid_grant",
        reason,
        shown: Reason::GrantInvalid,
        description: "the token that was sent as proof is not valid, was used before, or belongs to another client",
    }
}

/// The answer while the store cannot be used, or after a fault of the gateway itself.
const fn unavailable(reason: Reason) -> TokenError {
    TokenError::new(
        "temporarily_unavailable",
        reason,
        "the request could not be carried out; try again after a pause",
    )
}

/// A fault of the gateway itself, whose cause goes to the log.
pub fn failed(error: impl std::error::Error) -> TokenError {
    tracing::error!(%error, "a token request failed");
    unavailable(Reason::Internal)
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        match error.reason {
            Reason::StoreUnavailable => {
                tracing::warn!(%error, "a token request needs the store");
                unavailable(Reason::StoreUnavailable)
            }
            _ => failed(error),
        }
    }
}
