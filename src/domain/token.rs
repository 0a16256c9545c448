//! Access tokens: what they claim, and what they are bound to.

use serde::{Deserialize, Serialize};

use super::certificate::Fingerprint;
use super::id::{AppId, KeyId, TokenId};
use super::scope::ScopeSet;
use super::time::Timestamp;

/// What an access token of ours says (RFC 9068, with the binding of RFC 8705).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub issuer: String,
    pub audience: String,
    pub id: TokenId,
    pub app: AppId,
    /// The Key that the token was minted from; `client_id` and `sub` in the token.
    pub key: KeyId,
    pub scopes: ScopeSet,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// The certificate that must be presented beside the token (`cnf.x5t#S256`).
    pub certificate: Option<Fingerprint>,
}

/// A public key that verifies access tokens of ours, by its `kid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationKey {
    pub kid: String,
    /// An uncompressed point on P-256: 0x04, x, y (SEC 1, 2.3.3).
    pub point: Vec<u8>,
}

/// How a client proved itself at the token endpoint (RFC 8414, `token_endpoint_auth_methods_supported`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMethod {
    ClientSecretBasic,
    ClientSecretPost,
    TlsClientAuth,
}
