//! Signed requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::size::Size;

/// Signed requests, which routes with `signature` in `accept` take: the caller signs each request with a signing key or
/// with a key of its App's `jwks`, and no secret goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Signatures {
    /// The forms of signatures that are verified. There is one, `rfc9421`: HTTP Message Signatures.
    pub schemes: Vec<SignatureScheme>,
    /// The maximum size of the body of a signed request. It is held until its digest has been compared with the signed
    /// one, and nothing of it is forwarded before. At most 16MiB.
    pub body_max: Size,
}

/// A form of signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignatureScheme {
    Rfc9421,
}

impl Default for Signatures {
    fn default() -> Self {
        Self {
            schemes: vec![SignatureScheme::Rfc9421],
            body_max: Size::from_kib(1024),
        }
    }
}
