//! Access tokens: what they claim, whom they speak for, and what they are bound to.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::certificate::Fingerprint;
use super::device::DeviceId;
use super::id::{AppId, CertificateId, KeyId, SessionId, TokenId};
use super::scope::ScopeSet;
use super::thumbprint::Thumbprint;
use super::time::Timestamp;

/// The claims of an access token (RFC 9068, with the bindings of RFC 8705 and RFC 9449).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub issuer: String,
    pub audience: String,
    pub id: TokenId,
    pub app: AppId,
    /// The Key that the token was minted from: `client_id` in the token, and `sub` when it speaks for no user.
    pub key: KeyId,
    /// The user that the token speaks for: `sub`, when that is another than the client.
    pub subject: Option<Subject>,
    pub scopes: ScopeSet,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// The certificate that must be presented beside the token (`cnf.x5t#S256`).
    pub certificate: Option<Fingerprint>,
    /// The key whose proof must be presented beside the token (`cnf.jkt`).
    pub proof_key: Option<Thumbprint>,
    /// The session of the user, for a token that was minted in one.
    pub session: Option<TokenSession>,
}

/// The session that an access token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSession {
    /// `sid`.
    pub id: SessionId,
    /// `device_id`.
    pub device: Option<DeviceId>,
}

/// The most characters of a subject (`OpenID` Connect Core, 2, sets the same bound).
const SUBJECT_CHARS_MAX: usize = 255;

/// A user, as the partner that vouches for it names it: 1 to 255 characters of visible ASCII.
///
/// It goes into a header field as it is, so blanks, control characters and what is not ASCII are none. And it stands
/// where an App's id may stand, so it is none of our ids: a partner must not vouch for a user by another App's name.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(Arc<str>);

/// A text that is not a [`Subject`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a subject has 1 to 255 characters of visible ASCII, and is no id of an App or a credential"
)]
pub struct InvalidSubject;

impl Subject {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=SUBJECT_CHARS_MAX).contains(&text.len());
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let ours = text.parse::<AppId>().is_ok()
            || text.parse::<KeyId>().is_ok()
            || text.parse::<CertificateId>().is_ok();
        if fits && visible && !ours {
            Ok(Self(text.into()))
        } else {
            Err(InvalidSubject)
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = InvalidSubject;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0.as_ref().to_owned()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A public key that verifies access tokens of ours, by its `kid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationKey {
    pub kid: String,
    /// An uncompressed point on P-256: 0x04, x, y (SEC 1, 2.3.3).
    pub point: Vec<u8>,
}

/// The method of a client's authentication at the token endpoint (RFC 8414, `token_endpoint_auth_methods_supported`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMethod {
    ClientSecretBasic,
    ClientSecretPost,
    TlsClientAuth,
    SelfSignedTlsClientAuth,
    PrivateKeyJwt,
}

impl ClientAuthMethod {
    /// Every method, as the standards name them.
    pub const ALL: [Self; 5] = [
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::TlsClientAuth,
        Self::SelfSignedTlsClientAuth,
        Self::PrivateKeyJwt,
    ];

    /// True if the client shows nothing but its certificate.
    pub const fn is_certificate_alone(self) -> bool {
        matches!(self, Self::TlsClientAuth | Self::SelfSignedTlsClientAuth)
    }

    /// The name in the registry of OAuth.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }
}

/// Methods of client authentication: those that the token endpoint accepts, or those that one App may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthMethods(Arc<[ClientAuthMethod]>);

impl ClientAuthMethods {
    pub fn new(methods: &[ClientAuthMethod]) -> Self {
        Self(methods.into())
    }

    pub fn allow(&self, method: ClientAuthMethod) -> bool {
        self.0.contains(&method)
    }

    /// True if the method is one of these. A certificate alone is one proof with two names: the registry knows each
    /// certificate by its digest, no matter who has signed it (RFC 8705, 2.1 and 2.2).
    pub fn accept(&self, method: ClientAuthMethod) -> bool {
        let alone = [
            ClientAuthMethod::TlsClientAuth,
            ClientAuthMethod::SelfSignedTlsClientAuth,
        ];
        let twins: &[_] = if method.is_certificate_alone() {
            &alone
        } else {
            &[method]
        };
        twins.iter().any(|method| self.allow(*method))
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.0
            .iter()
            .copied()
            .map(ClientAuthMethod::as_str)
            .collect()
    }
}

/// Those by which a client shows a secret or a signature of its own. A certificate alone is one factor, where a route may ask for two.
impl Default for ClientAuthMethods {
    fn default() -> Self {
        Self::new(&[
            ClientAuthMethod::ClientSecretBasic,
            ClientAuthMethod::ClientSecretPost,
            ClientAuthMethod::PrivateKeyJwt,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_visible_ascii_of_at_most_255_characters() {
        let longest = "a".repeat(SUBJECT_CHARS_MAX);
        let typed = "user_01h455vb4pex5vsknk084sn02q";
        for good in [
            "alice",
            "alice@example.com",
            "auth0|5f7c8e",
            "app_1",
            typed,
            &longest,
        ] {
            assert_eq!(good.parse::<Subject>().unwrap().as_str(), good);
        }
        let too_long = "a".repeat(SUBJECT_CHARS_MAX + 1);
        let app = AppId::from_bits(1).to_string();
        let key = KeyId::from_bits(1).to_string();
        let certificate = CertificateId::from_bits(1).to_string();
        for bad in [
            "",
            "a b",
            "a\r\nX: y",
            "a\0",
            "z\u{fc}rich",
            "a\x7f",
            &too_long,
            &app,
            &key,
            &certificate,
        ] {
            assert_eq!(bad.parse::<Subject>(), Err(InvalidSubject), "{bad:?}");
        }
    }
}
