//! Minted tokens, with their descriptions for clients.

use std::time::Duration;

use crate::domain::id::{AppId, KeyId, TokenId};
use crate::domain::scope::ScopeSet;
use crate::domain::secret::Secret;

/// The kind of a minted token (RFC 8693, 3, where the answer names it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An access token, in the answer to a grant that is no exchange.
    Access,
    /// An access token, in the answer to an exchange.
    ExchangedAccess,
    /// An auth token, which opens a session.
    Auth,
}

impl Kind {
    /// `issued_token_type`, for exchanges.
    pub const fn urn(self) -> Option<&'static str> {
        match self {
            Self::Access => None,
            Self::ExchangedAccess => Some("urn:ietf:params:oauth:token-type:access_token"),
            Self::Auth => Some("urn:countersign:token-type:auth"),
        }
    }
}

/// The proof beside which a token counts, and no other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Nothing,
    /// The certificate that it was minted with (RFC 8705).
    Certificate,
    /// The key of a DPoP proof, and the certificate too if there was one (RFC 9449).
    Key,
}

impl Bound {
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Certificate, Self::Key];

    /// The word of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Certificate => "certificate",
            Self::Key => "key",
        }
    }
}

/// A minted token and its description for the client.
#[derive(Clone)]
pub struct MintedToken {
    pub kind: Kind,
    /// The access token, or the auth token.
    pub token: Secret,
    pub expires_in: Duration,
    /// The refresh token of its session.
    pub refresh: Option<Secret>,
    pub scopes: ScopeSet,
    pub bound: Bound,
    pub key: KeyId,
    pub app: AppId,
    /// The id of an access token; an auth token has none.
    pub id: Option<TokenId>,
}

impl std::fmt::Debug for MintedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MintedToken")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("key", &self.key)
            .field("app", &self.app)
            .field("scopes", &self.scopes)
            .field("bound", &self.bound)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}
