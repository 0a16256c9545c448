//! TLS towards partners: our certificates, and what we ask of theirs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::PemFile;
use super::secret::SecretReference;

/// TLS towards partners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Server certificates, selected by SNI; the first one is the default. Without one, the gateway's own authority
    /// issues a server certificate for the configured hosts.
    pub certificates: Vec<ServerCertificate>,
    /// The minimum TLS version.
    pub min_version: TlsVersion,
    pub client_auth: ClientAuth,
}

/// A certificate that the gateway shows to partners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerCertificate {
    /// The file of the certificate and its chain, in PEM.
    pub cert: PemFile,
    /// A reference to its private key, in PEM.
    pub key: SecretReference,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// The verification of partners' certificates in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientAuth {
    /// The request for a client certificate: `off`, `optional` or `required`.
    pub mode: ClientAuthMode,
    /// The refusal of a certificate that is signed by our authority but not valid (expired, revoked, unregistered):
    /// `explain` finishes the handshake and answers every request with the reason, `alert` ends the handshake.
    pub reject: Reject,
}

impl ClientAuth {
    /// The policy's number. A number never changes its meaning, so that a connection that was opened before a reload
    /// keeps its policy after it.
    pub const fn number(self) -> u16 {
        match (self.mode, self.reject) {
            // Without a request for a certificate, none is refused.
            (ClientAuthMode::Off, _) => 1,
            (ClientAuthMode::Optional, Reject::Explain) => 2,
            (ClientAuthMode::Optional, Reject::Alert) => 3,
            (ClientAuthMode::Required, Reject::Explain) => 4,
            (ClientAuthMode::Required, Reject::Alert) => 5,
        }
    }
}

/// The request for a client certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthMode {
    Off,
    #[default]
    Optional,
    Required,
}

/// The refusal of a certificate that is not valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reject {
    #[default]
    Explain,
    Alert,
}
