//! A token key that no longer signs.

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

/// The stored public half of a key that no longer signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetiredKey {
    pub(super) kid: String,
    /// The point in base64url.
    pub(super) point: String,
    /// The expiry of the last token that it signed.
    pub(super) until: Timestamp,
}
