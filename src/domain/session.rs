//! Sessions: users of an App, each on a device, between a login and its end.

use serde::{Deserialize, Serialize};

use super::api_key::{Environment, SecretDigest};
use super::device::DeviceId;
use super::id::{AppId, SessionId};
use super::scope::ScopeSet;
use super::thumbprint::Thumbprint;
use super::time::Timestamp;
use super::token::Subject;

/// The most characters of a user's id that an App vouches for.
pub const USER_CHARS_MAX: usize = 100;

/// The cause of a session's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    /// A newer session of the user, beyond the number that a user may have.
    Crowded,
    /// A newer login on the same device.
    Replaced,
    /// A refresh token that was used twice.
    Reused,
    /// The App or an operator.
    Revoked,
}

impl SessionEnd {
    pub const ALL: [Self; 4] = [Self::Crowded, Self::Replaced, Self::Reused, Self::Revoked];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crowded => "crowded",
            Self::Replaced => "replaced",
            Self::Reused => "reused",
            Self::Revoked => "revoked",
        }
    }
}

/// The session of a user of an App, on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub app: AppId,
    /// That of the Key which opened it. A Key of another one does not refresh it.
    pub environment: Environment,
    pub user: Subject,
    /// The key whose proof must come with each refresh (RFC 9449, 5), if the login came with one.
    pub proof_key: Option<Thumbprint>,
    /// Absent for a login that named no device.
    pub device: Option<DeviceId>,
    /// The scopes of its tokens.
    pub scopes: ScopeSet,
    pub created_at: Timestamp,
    pub refreshed_at: Timestamp,
    /// The end, however often it is refreshed.
    pub expires_at: Timestamp,
    /// The end of its refresh token, if it is not used before.
    pub idle_until: Timestamp,
    /// The expiry of its newest access token.
    pub tokens_until: Timestamp,
    /// The digest of the part that all its refresh tokens share.
    pub family: SecretDigest,
    /// The digest of the part of its refresh token that is valid now.
    pub refresh: SecretDigest,
    pub ended: Option<(Timestamp, SessionEnd)>,
}

impl Session {
    /// True if it can be refreshed at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.expires_at && now < self.idle_until
    }
}
