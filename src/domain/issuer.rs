//! Issuers other than this gateway, whose tokens a partner's clients exchange for ours.

use std::sync::Arc;

use super::name::Name;

/// The names of the algorithms that another issuer may sign with (RFC 7518, 3.1; RFC 8037, 3.1). Each signs with a
/// private key, so that the keys that verify are public.
pub const ALGORITHMS: [&str; 9] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
];

/// An issuer whose tokens are exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignIssuer {
    /// The name in the configuration.
    pub name: Name,
    /// `iss`, compared as it stands.
    pub issuer: String,
    /// Its tokens are for one of these.
    pub audiences: Vec<String>,
    /// The URL of its JWK set.
    pub jwks_url: Arc<str>,
    /// Some of [`ALGORITHMS`].
    pub algorithms: Vec<String>,
    /// The App whose clients exchange its tokens.
    pub app: Name,
    /// The claim that names the user.
    pub subject: String,
}
