//! The certificate authority and what it signs.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span::Span;
use crate::domain::certificate::{KeyAlgorithm, Profile as DomainProfile};

/// The certificate authority that signs partners' certificates; created on the first start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Authority {
    /// The directory of `root.pem`, `root.key`, `issuing.pem` and `issuing.key`; `authority` in the data directory
    /// when not set.
    pub directory: Option<PathBuf>,
    pub profile: Profile,
}

/// The rules for signed certificates. Only the public key comes from the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// The lifetime of a certificate by default.
    pub lifetime: Span,
    /// The maximum lifetime that an operator may request.
    pub lifetime_max: Span,
    /// Accepted key types: `p256`, `p384`, `ed25519`, `rsa2048`, `rsa3072`, `rsa4096`.
    #[schemars(with = "Vec<String>", extend("items" = key_algorithm_schema()))]
    pub keys: Vec<KeyAlgorithm>,
    /// The time by which a certificate is back-dated, for partners with slow clocks.
    pub backdate: Span,
    /// The maximum number of active certificates of one App; two allow rotation with an overlap.
    pub active_max: u32,
}

fn key_algorithm_schema() -> serde_json::Value {
    serde_json::json!({ "type": "string", "enum": KeyAlgorithm::ALL.map(KeyAlgorithm::as_str) })
}

impl Default for Profile {
    fn default() -> Self {
        let profile = DomainProfile::default();
        Self {
            lifetime: profile.lifetime.into(),
            lifetime_max: profile.lifetime_max.into(),
            keys: profile.keys,
            backdate: profile.backdate.into(),
            active_max: profile.active_max,
        }
    }
}

impl From<&Profile> for DomainProfile {
    fn from(written: &Profile) -> Self {
        Self {
            lifetime: written.lifetime.get(),
            lifetime_max: written.lifetime_max.get(),
            keys: written.keys.clone(),
            backdate: written.backdate.get(),
            active_max: written.active_max,
        }
    }
}
