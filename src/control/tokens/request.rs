//! Requests to the token endpoint, as the edge has read them.

use std::net::IpAddr;

use crate::domain::identity::CertificateProof;
use crate::domain::token::ClientAuthMethod;

/// A request to the token endpoint.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'r> {
    pub client: ClientProof<'r>,
    /// The DPoP proof beside the request.
    pub proof: Option<ShownProof<'r>>,
    pub grant: Grant<'r>,
    /// `scope`: the scopes that the client asks for.
    pub scope: Option<&'r str>,
}

/// A DPoP proof that was not judged yet, and the target that it has to be for.
#[derive(Clone, Copy)]
pub struct ShownProof<'r> {
    pub text: &'r str,
    /// The host that the client called, with the port where it named one.
    pub authority: &'r str,
    pub path: &'r str,
}

/// The target without the proof.
impl std::fmt::Debug for ShownProof<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownProof")
            .field("authority", &self.authority)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The proof that a client sent of itself, and that of its connection.
#[derive(Clone, Copy)]
pub struct ClientProof<'r> {
    /// Empty where an assertion names the client.
    pub client_id: &'r str,
    /// The whole key.
    pub secret: Option<&'r str>,
    /// A JWT that the client has signed.
    pub assertion: Option<&'r str>,
    pub method: ClientAuthMethod,
    pub certificate: Option<&'r CertificateProof>,
    pub address: IpAddr,
    /// The origin of the page that a browser calls for.
    pub origin: Option<&'r str>,
}

/// The proof without the secret and the assertion.
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
#[derive(Clone, Copy)]
pub enum Grant<'r> {
    /// An access token of the client's own App (RFC 6749, 4.4).
    ClientCredentials,
    /// An auth token for a user that the client's App vouches for (RFC 8693).
    Vouch {
        user: &'r str,
        device: Option<&'r str>,
    },
    /// A session for an auth token (RFC 8693).
    Session {
        auth_token: &'r str,
        device: Option<&'r str>,
    },
    /// A session for the user of an assertion that the App has signed (RFC 7523, 2.1).
    Assertion {
        assertion: &'r str,
        device: Option<&'r str>,
    },
    /// A session for a user whom nobody vouches for, where the App's secure mode is off.
    Login {
        user: &'r str,
        device: Option<&'r str>,
    },
    /// An access token for the user of another issuer's token (RFC 8693).
    Foreign { token: &'r str },
    /// An access token with fewer scopes than another one (RFC 8693).
    Narrow { access_token: &'r str },
    /// The next tokens of a session (RFC 6749, 6).
    Refresh { refresh_token: &'r str },
}

impl Grant<'_> {
    /// The grant's name for metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Vouch { .. } => "vouch",
            Self::Session { .. } => "session",
            Self::Assertion { .. } => "jwt_bearer",
            Self::Login { .. } => "login",
            Self::Foreign { .. } => "foreign",
            Self::Narrow { .. } => "narrow",
            Self::Refresh { .. } => "refresh_token",
        }
    }
}

impl Grant<'_> {
    /// True for the grants of a user's device, to which a publishable Key is good: what is shown beside it, or the App's
    /// secure mode, is the proof.
    pub const fn is_of_devices(&self) -> bool {
        matches!(
            self,
            Self::Session { .. } | Self::Login { .. } | Self::Refresh { .. }
        )
    }
}

/// The grant without its parameters, most of which are secrets.
impl std::fmt::Debug for Grant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
