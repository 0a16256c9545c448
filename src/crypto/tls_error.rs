//! The errors of TLS policies.

use rustls::Error;

use super::chain::ChainError;
use super::pem_fault::InvalidPem;
use super::x509::MalformedCertificate;

/// A TLS policy that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("there is no server certificate")]
    NoCertificates,
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("the upstream's authorities cannot be read")]
    Pem(#[from] InvalidPem),
    #[error("the server certificate cannot be read")]
    Certificate(#[from] MalformedCertificate),
    #[error("the authorities that client certificates have to lead to cannot be used")]
    Anchors(#[source] Error),
    #[error("the upstream's authorities cannot be used")]
    Roots(#[source] Error),
    #[error(
        "this system has no trusted authorities; set the upstream's authority in the configuration"
    )]
    NoSystemRoots,
    #[error("TLS cannot be set up")]
    Setup(#[from] Error),
}
