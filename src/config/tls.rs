//! TLS towards partners: our certificates, and what we ask of theirs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::PemFile;
use super::host_name::HostName;
use super::secret::SecretReference;
use crate::domain::tls_policy::{self, TlsPolicy};

/// TLS towards partners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Server certificates, selected by SNI; the first one is the default. Without one, the gateway's own authority
    /// issues a server certificate for the configured hosts.
    pub certificates: Vec<ServerCertificate>,
    /// Further names of the certificate that the gateway's own authority issues, besides the configured hosts: names
    /// and addresses by which partners call this machine. With the host `*` it also has the machine's name and the
    /// address that `listeners.partners` listens on.
    pub own_names: Vec<HostName>,
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
    /// The TLS policy that this comes to, beside the oldest version that is spoken.
    pub fn policy(self, oldest: TlsVersion) -> TlsPolicy {
        let mode = match self.mode {
            ClientAuthMode::Off => tls_policy::ClientAuthMode::Off,
            ClientAuthMode::Optional => tls_policy::ClientAuthMode::Optional,
            ClientAuthMode::Required => tls_policy::ClientAuthMode::Required,
        };
        let reject = match self.reject {
            Reject::Explain => tls_policy::Reject::Explain,
            Reject::Alert => tls_policy::Reject::Alert,
        };
        let oldest = match oldest {
            TlsVersion::V1_2 => tls_policy::TlsVersion::V1_2,
            TlsVersion::V1_3 => tls_policy::TlsVersion::V1_3,
        };
        TlsPolicy::new(mode, reject, oldest)
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
