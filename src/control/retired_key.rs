//! A key that has signed access tokens and signs no more.

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

/// The public half of a key that signs no more, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetiredKey {
    pub(super) kid: String,
    /// The point in base64url.
    pub(super) point: String,
    /// When the last token that it signed has ended.
    pub(super) until: Timestamp,
}
