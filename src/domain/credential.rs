//! The one life that every credential has: pending → active → retiring → revoked | expired.

use serde::{Deserialize, Serialize};

use super::id::{AppId, CertificateId, KeyId};
use super::time::Timestamp;
use super::token_end::TokensOf;

/// The state of a credential in the registry. Expiry follows from the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialState {
    /// Created, but not yet usable.
    Pending,
    Active,
    /// Valid until the end of the overlap; a successor exists.
    Retiring,
    Revoked,
    Expired,
}

impl CredentialState {
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Active,
        Self::Retiring,
        Self::Revoked,
        Self::Expired,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    /// True if a credential in this state is accepted.
    pub const fn counts(self) -> bool {
        matches!(self, Self::Active | Self::Retiring)
    }

    /// The state at `now`: what counted until `expires_at` has expired after it.
    #[must_use]
    pub fn at(self, now: Timestamp, expires_at: Option<Timestamp>) -> Self {
        match expires_at {
            Some(end) if self != Self::Revoked && now > end => Self::Expired,
            _ => self,
        }
    }
}

/// Names a credential of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialId {
    Certificate(CertificateId),
    Key(KeyId),
}

impl std::fmt::Display for CredentialId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Certificate(id) => id.fmt(f),
            Self::Key(id) => id.fmt(f),
        }
    }
}

/// The credentials that are no longer valid, whose open connections must be checked again or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    App(AppId),
    Credential(CredentialId),
    Tokens(TokensOf),
}

/// The reason of a revocation (RFC 5280, 5.3.1, the reasons that fit a partner's credential).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationReason {
    AffiliationChanged,
    CessationOfOperation,
    KeyCompromise,
    PrivilegeWithdrawn,
    Superseded,
    #[default]
    Unspecified,
}

impl RevocationReason {
    pub const ALL: [Self; 6] = [
        Self::AffiliationChanged,
        Self::CessationOfOperation,
        Self::KeyCompromise,
        Self::PrivilegeWithdrawn,
        Self::Superseded,
        Self::Unspecified,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AffiliationChanged => "affiliation-changed",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::KeyCompromise => "key-compromise",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
            Self::Superseded => "superseded",
            Self::Unspecified => "unspecified",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_follows_from_the_clock_and_never_hides_a_revocation() {
        let end = Some(Timestamp::from_unix_seconds(10));
        let before = Timestamp::from_unix_seconds(10);
        let after = Timestamp::from_unix_seconds(11);
        assert_eq!(
            CredentialState::Active.at(before, end),
            CredentialState::Active
        );
        assert_eq!(
            CredentialState::Active.at(after, end),
            CredentialState::Expired
        );
        assert_eq!(
            CredentialState::Retiring.at(after, end),
            CredentialState::Expired
        );
        assert_eq!(
            CredentialState::Revoked.at(after, end),
            CredentialState::Revoked
        );
        assert_eq!(
            CredentialState::Active.at(after, None),
            CredentialState::Active
        );
    }
}
