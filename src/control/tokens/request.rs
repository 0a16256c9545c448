//! Requests to the token endpoint, as the edge has read them.

use std::net::IpAddr;

use crate::domain::identity::CertificateProof;
use crate::domain::token::ClientAuthMethod;

/// A request to the token endpoint.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'r> {
    pub client: ClientProof<'r>,
    pub grant: Grant<'r>,
}

/// The proof that a client sent of itself, and that of its connection.
#[derive(Clone, Copy)]
pub struct ClientProof<'r> {
    pub client_id: &'r str,
    /// The whole key.
    pub secret: Option<&'r str>,
    pub method: ClientAuthMethod,
    pub certificate: Option<&'r CertificateProof>,
    pub address: IpAddr,
}

/// The proof without the secret.
impl std::fmt::Debug for ClientProof<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientProof")
            .field("method", &self.method)
            .field("certificate", &self.certificate.map(|proof| proof.id))
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The grant that a client asks for, with its parameters.
#[derive(Clone, Copy, Debug)]
pub enum Grant<'r> {
    /// An access token of the client's own App (RFC 6749, 4.4).
    ClientCredentials { scope: Option<&'r str> },
}
