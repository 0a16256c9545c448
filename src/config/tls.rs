//! TLS towards partners: our certificates, and what we ask of theirs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::PemFile;
use super::secret::SecretReference;

/// TLS towards partners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Server certificates, chosen by the name that the client asks for; the first one is for everybody else.
    /// Where there is none, the gateway's own authority issues one for the configured hosts.
    pub certificates: Vec<ServerCertificate>,
    /// The oldest version of TLS that is spoken.
    pub min_version: TlsVersion,
    pub client_auth: ClientAuth,
}

/// A certificate that the gateway shows to partners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerCertificate {
    /// The file of the certificate and its chain, in PEM.
    pub cert: PemFile,
    /// Where its private key is, in PEM.
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

/// What is asked of a partner's certificate in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientAuth {
    /// Whether a client certificate is asked for: `off`, `optional` or `required`.
    pub mode: ClientAuthMode,
    /// What happens with a certificate of ours that does not count (expired, revoked, unregistered): `explain` lets
    /// the handshake finish and answers every request with the reason, `alert` ends the handshake.
    pub reject: Reject,
}

impl ClientAuth {
    /// The policy's name among TLS policies. A number never gets another meaning, so that a connection which was
    /// opened before a reload is not taken for one of another policy afterwards.
    pub const fn number(self) -> u16 {
        match (self.mode, self.reject) {
            // Where nothing is asked for, nothing is rejected.
            (ClientAuthMode::Off, _) => 1,
            (ClientAuthMode::Optional, Reject::Explain) => 2,
            (ClientAuthMode::Optional, Reject::Alert) => 3,
            (ClientAuthMode::Required, Reject::Explain) => 4,
            (ClientAuthMode::Required, Reject::Alert) => 5,
        }
    }
}

/// Whether a client certificate is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthMode {
    Off,
    #[default]
    Optional,
    Required,
}

/// How a certificate that does not count is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reject {
    #[default]
    Explain,
    Alert,
}
