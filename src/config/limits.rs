//! Settings that all limits share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of all limits. The limits themselves are in the routes, and in keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// `true` adds `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (in Unix seconds) to the answers
    /// of routes with a limit, for clients that do not read `RateLimit`.
    pub legacy_headers: bool,
}
