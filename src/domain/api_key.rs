//! API keys: what the registry keeps of them; never the secret.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::credential::{CredentialState, RevocationReason};
use super::id::{AppId, KeyId};
use super::name::Name;
use super::scope::ScopeSet;
use super::time::Timestamp;

/// The environment of a key: `sk_live_…` or `sk_test_…`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    #[default]
    Live,
    Test,
}

impl Environment {
    pub const ALL: [Self; 2] = [Self::Live, Self::Test];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// The digest under which a key's secret is kept: HMAC-SHA256 under the server's pepper, or SHA-256 without one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretDigest(pub [u8; 32]);

impl std::fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretDigest(…)")
    }
}

/// The most networks that one key may be bound to.
pub const NETWORKS_MAX: usize = 32;

/// A server key as the registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub id: KeyId,
    pub app: AppId,
    pub name: Name,
    pub environment: Environment,
    pub digest: SecretDigest,
    pub scopes: ScopeSet,
    /// The networks that may use the key; all when empty.
    pub networks: Vec<IpNet>,
    pub state: CredentialState,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub revocation_reason: Option<RevocationReason>,
}
