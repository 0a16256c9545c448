//! Operators: who may change what through the admin API.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::api_key::SecretDigest;
use super::id::{AdminTokenId, AppId, KeyId};
use super::name::Name;
use super::time::Timestamp;

/// The role of an operator; each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything that is not secret.
    Viewer,
    /// Creates, rotates and revokes Apps and their credentials.
    Operator,
    /// Everything, admin tokens, reload and drain included.
    Admin,
}

/// The author of an administrative change; written into its audit event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The gateway itself, for example when it makes its authority on first start.
    Gateway,
    /// A process on this machine, over the unix socket, by its user id.
    Local { uid: u32 },
    /// The holder of an admin token.
    Token { id: AdminTokenId, name: Name },
    /// A partner, by the key that it has proved.
    Partner { app: AppId, key: KeyId },
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway => f.write_str("gateway"),
            Self::Local { uid } => write!(f, "local:uid={uid}"),
            Self::Partner { app, key } => write!(f, "partner:{app}:{key}"),
            Self::Token { id, name } => write!(f, "token:{name}:{id}"),
        }
    }
}

/// An admin token as the store keeps it; never the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    pub id: AdminTokenId,
    pub name: Name,
    pub role: Role,
    pub digest: SecretDigest,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}
