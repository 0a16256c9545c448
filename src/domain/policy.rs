//! The policy of a route: the credentials and scopes that it requires.

use serde::{Deserialize, Serialize};

use super::accepted::{AcceptedKinds, CredentialKind, Environments};
use super::identity::Bearer;
use super::name::Name;
use super::scope::ScopeSet;

/// The credentials that a caller must prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    None,
    Mtls,
    Key,
    Token,
    MtlsOrKey,
    MtlsAndKey,
    MtlsOrToken,
    MtlsAndToken,
}

impl Requirement {
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Mtls,
        Self::Key,
        Self::Token,
        Self::MtlsOrKey,
        Self::MtlsAndKey,
        Self::MtlsOrToken,
        Self::MtlsAndToken,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mtls => "mtls",
            Self::Key => "key",
            Self::Token => "token",
            Self::MtlsOrKey => "mtls_or_key",
            Self::MtlsAndKey => "mtls_and_key",
            Self::MtlsOrToken => "mtls_or_token",
            Self::MtlsAndToken => "mtls_and_token",
        }
    }

    /// True if a key or token can matter here.
    pub const fn looks_at_bearer(self) -> bool {
        !matches!(self, Self::None | Self::Mtls)
    }

    /// True if a token can matter here.
    pub const fn looks_at_token(self) -> bool {
        matches!(self, Self::Token | Self::MtlsOrToken | Self::MtlsAndToken)
    }

    /// True if callers without a certificate are refused.
    pub const fn needs_certificate(self) -> bool {
        matches!(self, Self::Mtls | Self::MtlsAndKey | Self::MtlsAndToken)
    }

    pub(super) const fn bearer_kind(self) -> Option<BearerKind> {
        match self {
            Self::None | Self::Mtls => None,
            Self::Key | Self::MtlsOrKey | Self::MtlsAndKey => Some(BearerKind::Key),
            Self::Token | Self::MtlsOrToken | Self::MtlsAndToken => Some(BearerKind::Token),
        }
    }
}

/// The kind of a bearer credential.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BearerKind {
    Key,
    Token,
}

/// The requirements of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub requirement: Requirement,
    /// All of them are needed. They come from a key or token; a certificate alone has none.
    pub scopes: ScopeSet,
    /// The kinds of keys and tokens that are taken.
    pub accept: AcceptedKinds,
    /// The other issuers whose tokens are taken.
    pub issuers: Vec<Name>,
    /// The environments whose credentials are taken.
    pub environments: Environments,
}

impl Policy {
    /// A policy that takes the kinds and environments that routes take unless they say otherwise.
    pub const fn new(requirement: Requirement, scopes: ScopeSet) -> Self {
        Self {
            requirement,
            scopes,
            accept: AcceptedKinds::DEFAULT,
            issuers: Vec::new(),
            environments: Environments::DEFAULT,
        }
    }

    /// True for a credential of a kind, or of an issuer, that is taken.
    pub fn takes(&self, bearer: &Bearer) -> bool {
        match bearer {
            Bearer::Foreign { token, .. } => self.issuers.contains(&token.issuer.name),
            Bearer::Key { .. } | Bearer::Token { .. } => {
                CredentialKind::of(bearer).is_some_and(|kind| self.accept.has(kind))
            }
        }
    }

    /// The words for everything that is accepted and can prove what is required.
    pub fn usable_words(&self) -> Vec<String> {
        let kinds = self.usable();
        let kinds = kinds.iter().map(|kind| kind.as_str().to_owned());
        let issuers = self.issuers.iter();
        let issuers = issuers.map(|issuer| format!("issuer:{issuer}"));
        kinds.chain(issuers).collect()
    }

    /// The accepted kinds that can prove what is required: `require: key` takes no token.
    pub fn usable(&self) -> AcceptedKinds {
        let wanted = self.requirement.bearer_kind();
        let usable = self.accept.iter().filter(|accepted| {
            let kind = match accepted {
                CredentialKind::AppToken | CredentialKind::UserToken => BearerKind::Token,
                CredentialKind::SecretKey
                | CredentialKind::PublishableKey
                | CredentialKind::Signature => BearerKind::Key,
            };
            wanted == Some(kind)
        });
        AcceptedKinds::new(usable)
    }
}
