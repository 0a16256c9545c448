//! Refusals and failures of administrative operations.

use std::fmt::Display;

use crate::domain::reason::Reason;
use crate::store::error::{Conflict, Error as StoreError};

/// A refusal or failure: a [`Reason`] for machines, a detail for the operator, and a source for the log.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    pub reason: Reason,
    /// Safe to show to an operator; never holds a secret.
    pub detail: String,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            source: None,
        }
    }

    /// A conflict between the operation and the stored state.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Reason::Conflict, detail)
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
            source: Some(source.into()),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let (reason, detail) = match &error {
            StoreError::Conflict(conflict) => explain(*conflict),
            StoreError::Missing => (Reason::NotFound, "the object to change does not exist"),
            StoreError::Unavailable(cause) => {
                let (reason, detail) = (Reason::StoreUnavailable, cause.to_string());
                let source = Some(error.into());
                return Self {
                    reason,
                    detail,
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
            source: Some(error.into()),
        }
    }
}

fn explain(conflict: Conflict) -> (Reason, &'static str) {
    match conflict {
        Conflict::Duplicate => (Reason::Conflict, "this is already registered"),
        Conflict::KeyCompromised => (
            Reason::CsrKeyRevoked,
            "a certificate with this key was revoked because the key is compromised; make a new key pair",
        ),
        Conflict::KeyOfOtherApp => (
            Reason::CsrKeyInUse,
            "the key of this request is registered to another App; make a new key pair for each App",
        ),
        Conflict::NameTaken => (Reason::Conflict, "the name is taken"),
        Conflict::StateChanged => (
            Reason::Conflict,
            "its state has changed in the meantime; check it and try again",
        ),
        Conflict::TooManyActive => (
            Reason::CertLimit,
            "the App has reached its limit of active certificates; revoke one that is no longer used",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_conflict_of_the_store_has_its_reason() {
        for (conflict, reason) in [
            (Conflict::Duplicate, Reason::Conflict),
            (Conflict::KeyCompromised, Reason::CsrKeyRevoked),
            (Conflict::KeyOfOtherApp, Reason::CsrKeyInUse),
            (Conflict::NameTaken, Reason::Conflict),
            (Conflict::StateChanged, Reason::Conflict),
            (Conflict::TooManyActive, Reason::CertLimit),
        ] {
            assert_eq!(Error::from(StoreError::Conflict(conflict)).reason, reason);
        }
        assert_eq!(Error::from(StoreError::Missing).reason, Reason::NotFound);
    }
}
