//! Refusals and failures of administrative operations.

use std::fmt::Display;

use crate::domain::client_use::ClientUse;
use crate::domain::reason::Reason;
use crate::domain::registry::refusal::Refusal;
use crate::store::error::{Conflict, Error as StoreError};

/// A refusal or failure: a [`Reason`] for machines, a detail for the operator, and a source for the log.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    pub reason: Reason,
    /// Safe to show to an operator; never holds a secret.
    pub detail: String,
    /// The uses that a change would stop, where the reason is that nobody has confirmed it.
    pub affected: Vec<ClientUse>,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            affected: Vec::new(),
            source: None,
        }
    }

    /// A conflict between the operation and the stored state.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Reason::Conflict, detail)
    }

    /// A change that would stop these uses, and that nobody has confirmed.
    pub fn unconfirmed_change(affected: Vec<ClientUse>) -> Self {
        Self {
            affected,
            ..Self::new(
                Reason::ConfirmationNeeded,
                "clients of the App that authenticated within the last 30 days would be refused",
            )
        }
    }

    /// An invalid input.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Reason::InputInvalid, detail)
    }

    /// An object of this kind that is not stored under this id or name.
    pub fn not_found(kind: &str, which: impl Display) -> Self {
        Self::new(Reason::NotFound, format!("there is no {kind} {which}"))
    }

    /// A fault of the gateway itself, with its cause.
    pub fn internal(
        detail: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            reason: Reason::Internal,
            detail: detail.into(),
            affected: Vec::new(),
            source: Some(source.into()),
        }
    }
}

/// A refusal of the registry's rules, in their words.
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let reason = match refusal {
            Refusal::AppState { .. }
            | Refusal::AppSuspended(_)
            | Refusal::KeyEnded { .. }
            | Refusal::KeyRotated(_)
            | Refusal::LiveKey(_)
            | Refusal::NameTaken(_)
            | Refusal::Revoked { .. }
            | Refusal::TooManyBoosts { .. } => Reason::Conflict,
            Refusal::KeyInUse { .. } => Reason::StillInUse,
            Refusal::KeyCompromised => Reason::CsrKeyRevoked,
            Refusal::KeyOfOtherApp => Reason::CsrKeyInUse,
            Refusal::BoostEnd | Refusal::Settings(_) => Reason::InputInvalid,
            Refusal::TooManyActive => Reason::CertLimit,
            Refusal::TooManyKeys { .. } => Reason::KeyLimit,
        };
        Self::new(reason, refusal.to_string())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let (reason, detail) = match &error {
            StoreError::Conflict(conflict) => (Reason::Conflict, explain(*conflict)),
            StoreError::Missing => (Reason::NotFound, "the object to change does not exist"),
            StoreError::Unavailable(cause) => {
                let (reason, detail) = (Reason::StoreUnavailable, cause.to_string());
                let source = Some(error.into());
                return Self {
                    reason,
                    detail,
                    affected: Vec::new(),
                    source,
                };
            }
            StoreError::Corrupt { .. } => (
                Reason::Internal,
                "the store contains a value that cannot be read; the log has its place",
            ),
        };
        Self {
            reason,
            detail: detail.to_owned(),
            affected: Vec::new(),
            source: Some(error.into()),
        }
    }
}

const fn explain(conflict: Conflict) -> &'static str {
    match conflict {
        Conflict::Duplicate => "this is already registered",
        Conflict::Moved => "its state has changed in the meantime; check it and try again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_and_every_failure_has_its_reason() {
        for (refusal, reason) in [
            (Refusal::KeyCompromised, Reason::CsrKeyRevoked),
            (Refusal::KeyOfOtherApp, Reason::CsrKeyInUse),
            (Refusal::TooManyActive, Reason::CertLimit),
            (
                Refusal::NameTaken("acme".parse().unwrap()),
                Reason::Conflict,
            ),
        ] {
            assert_eq!(Error::from(refusal).reason, reason);
        }
        for conflict in [Conflict::Duplicate, Conflict::Moved] {
            let error = Error::from(StoreError::Conflict(conflict));
            assert_eq!(error.reason, Reason::Conflict);
        }
        assert_eq!(Error::from(StoreError::Missing).reason, Reason::NotFound);
    }
}
