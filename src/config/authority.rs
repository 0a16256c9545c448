//! The certificate authority and what it signs.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span::Span;
use crate::domain::certificate::{KeyAlgorithm, Profile as DomainProfile};

/// The certificate authority that signs partners' certificates; made on the first start when it is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Authority {
    /// Holds `root.pem`, `root.key`, `issuing.pem` and `issuing.key`; `authority` in the data directory when not set.
    pub directory: Option<PathBuf>,
    pub profile: Profile,
}

/// What may be signed. Everything in a certificate but the public key comes from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// How long a certificate counts when nobody asks for less.
    pub lifetime: Span,
    /// The most that anyone may ask for.
    pub lifetime_max: Span,
    /// The kinds of key that partners may bring: `p256`, `p384`, `ed25519`, `rsa2048`, `rsa3072`, `rsa4096`.
    #[schemars(with = "Vec<String>", extend("items" = key_algorithm_schema()))]
    pub keys: Vec<KeyAlgorithm>,
    /// How far a certificate's beginning lies in the past, for partners whose clocks are slow.
    pub backdate: Span,
    /// Certificates of one App that may count at a time; two allow rotation by overlap.
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
