//! The proved sender of a request.

use std::sync::Arc;

use super::api_key::{Environment, KeyHint, KeyKind, KeyRules, KeyTail};
use super::app::App;
use super::certificate::{Fingerprint, SerialNumber};
use super::id::{AppId, CertificateId, KeyId, TokenId};
use super::issuer::ForeignToken;
use super::reason::Reason;
use super::scope::ScopeSet;
use super::signed_request::SignedRequest;
use super::time::{Timestamp, Validity};
use super::token::{Claims, Subject};

/// A client certificate that is registered and valid now, and belongs to an active App.
#[derive(Clone, Debug)]
pub struct CertificateProof {
    pub id: CertificateId,
    pub app: Arc<App>,
    pub fingerprint: Fingerprint,
    pub serial: SerialNumber,
    pub validity: Validity,
}

/// The proof in a request's `Authorization` or `X-Api-Key` field.
#[derive(Clone, Debug)]
pub enum Bearer {
    Key {
        id: KeyId,
        app: Arc<App>,
        scopes: ScopeSet,
        facts: KeyFacts,
    },
    Token {
        app: Arc<App>,
        claims: Arc<Claims>,
        /// Those of the key that the token was minted from.
        facts: KeyFacts,
    },
    /// A token of another issuer.
    Foreign {
        app: Arc<App>,
        token: Arc<ForeignToken>,
        /// Those of the App: no key stands behind the token.
        facts: KeyFacts,
    },
}

/// The name of one token, for what is kept for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenMark {
    /// The digest of a token of another issuer.
    Foreign([u8; 32]),
    Ours(TokenId),
}

/// The facts of a key that a route and its limits ask about.
#[derive(Clone, Debug, Default)]
pub struct KeyFacts {
    pub kind: KeyKind,
    pub environment: Environment,
    pub tail: Option<KeyTail>,
    pub rules: Option<Arc<KeyRules>>,
    /// The signature of this request, if the key was proved by one and not by its text.
    pub signed: Option<Arc<SignedRequest>>,
}

impl KeyFacts {
    /// The part of the key that may be shown.
    pub fn hint(&self) -> KeyHint {
        KeyHint {
            kind: self.kind,
            environment: self.environment,
            tail: self.tail,
        }
    }
}

impl Bearer {
    pub fn app(&self) -> &Arc<App> {
        match self {
            Self::Key { app, .. } | Self::Token { app, .. } | Self::Foreign { app, .. } => app,
        }
    }

    pub fn facts(&self) -> &KeyFacts {
        match self {
            Self::Key { facts, .. } | Self::Token { facts, .. } | Self::Foreign { facts, .. } => {
                facts
            }
        }
    }

    /// The key that was shown, or that the token was minted from. Tokens of other issuers have none.
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Self::Key { id, .. } => Some(*id),
            Self::Token { claims, .. } => Some(claims.key),
            Self::Foreign { .. } => None,
        }
    }

    /// The scopes of the key or token; `None` for a token of another issuer, whose scopes mean nothing here.
    pub fn scopes(&self) -> Option<&ScopeSet> {
        match self {
            Self::Key { scopes, .. } => Some(scopes),
            Self::Token { claims, .. } => Some(&claims.scopes),
            Self::Foreign { .. } => None,
        }
    }

    /// The name of the token, if it is one.
    pub fn token(&self) -> Option<TokenMark> {
        match self {
            Self::Key { .. } => None,
            Self::Token { claims, .. } => Some(TokenMark::Ours(claims.id)),
            Self::Foreign { token, .. } => Some(TokenMark::Foreign(token.digest)),
        }
    }

    /// The time from which the token is no longer valid, if it is one.
    pub fn token_ends(&self) -> Option<Timestamp> {
        match self {
            Self::Key { .. } => None,
            Self::Token { claims, .. } => Some(claims.expires_at),
            Self::Foreign { token, .. } => Some(token.counts_until),
        }
    }

    /// The token, if another issuer has signed it.
    pub fn foreign(&self) -> Option<&Arc<ForeignToken>> {
        match self {
            Self::Foreign { token, .. } => Some(token),
            Self::Key { .. } | Self::Token { .. } => None,
        }
    }

    /// The user that the caller speaks for. A key speaks for its App alone.
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Key { .. } => None,
            Self::Token { claims, .. } => claims.subject.as_ref(),
            Self::Foreign { token, .. } => Some(&token.subject),
        }
    }
}

/// One proof that was asked for, and what came of it.
#[derive(Clone, Debug)]
pub enum Evidence<T> {
    /// The caller showed nothing of the kind.
    Absent,
    Proved(T),
    /// The caller sent a credential that is not valid.
    Refused(Reason),
}

impl<T> Evidence<T> {
    pub fn proved(&self) -> Option<&T> {
        match self {
            Self::Proved(proof) => Some(proof),
            Self::Absent | Self::Refused(_) => None,
        }
    }

    /// The proof, or why there is none; `absent` is the reason when nothing was shown.
    pub fn require(&self, absent: Reason) -> Result<&T, Reason> {
        match self {
            Self::Proved(proof) => Ok(proof),
            Self::Absent => Err(absent),
            Self::Refused(reason) => Err(*reason),
        }
    }
}

/// The evidence of a request's sender. Collecting it refuses no request; the policy does.
#[derive(Clone, Debug)]
pub struct Caller {
    pub certificate: Evidence<CertificateProof>,
    pub bearer: Evidence<Bearer>,
}

impl Caller {
    /// A caller of whom nothing but its certificate has been looked at.
    pub fn shown(certificate: Evidence<CertificateProof>) -> Self {
        Self {
            certificate,
            bearer: Evidence::Absent,
        }
    }
}

/// The method by which an identity was proved; the value of `X-Countersign-Auth-Method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    Mtls,
    Key,
    Token,
    MtlsKey,
    MtlsToken,
}

impl AuthMethod {
    pub const ALL: [Self; 5] = [
        Self::Mtls,
        Self::Key,
        Self::Token,
        Self::MtlsKey,
        Self::MtlsToken,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mtls => "mtls",
            Self::Key => "key",
            Self::Token => "token",
            Self::MtlsKey => "mtls+key",
            Self::MtlsToken => "mtls+token",
        }
    }
}

/// The claimed sender of a request, proved or not, for the record of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    pub app: Option<AppId>,
    pub key: Option<KeyId>,
    pub certificate: Option<SerialNumber>,
}

/// The sender of a request after the policy has accepted the proofs. There is at least one proof,
/// and two proofs belong to one App.
#[derive(Clone, Debug)]
pub struct Identity {
    certificate: Option<CertificateProof>,
    bearer: Option<Bearer>,
}

impl Identity {
    /// Refuses proofs of two different Apps; `None` when nothing was proved.
    pub fn of(
        certificate: Option<&CertificateProof>,
        bearer: Option<&Bearer>,
    ) -> Result<Option<Self>, Reason> {
        match (certificate, bearer) {
            (None, None) => Ok(None),
            (Some(certificate), Some(bearer)) if certificate.app.id != bearer.app().id => {
                Err(Reason::AppsDiffer)
            }
            (certificate, bearer) => Ok(Some(Self {
                certificate: certificate.cloned(),
                bearer: bearer.cloned(),
            })),
        }
    }

    pub fn app(&self) -> Option<&Arc<App>> {
        self.bearer
            .as_ref()
            .map(Bearer::app)
            .or_else(|| self.certificate.as_ref().map(|proof| &proof.app))
    }

    pub fn certificate(&self) -> Option<&CertificateProof> {
        self.certificate.as_ref()
    }

    pub fn bearer(&self) -> Option<&Bearer> {
        self.bearer.as_ref()
    }

    pub fn key(&self) -> Option<KeyId> {
        self.bearer.as_ref().and_then(Bearer::key)
    }

    /// The user that the caller speaks for.
    pub fn subject(&self) -> Option<&Subject> {
        self.bearer.as_ref().and_then(Bearer::subject)
    }

    /// The id of what was shown: of the key or the token's key, `issuer:` and the name of another issuer, or else the
    /// id of the certificate.
    pub fn credential(&self) -> Option<String> {
        let key = self.key().map(|key| key.to_string());
        let issuer = self.bearer.as_ref().and_then(Bearer::foreign);
        let issuer = issuer.map(|token| format!("issuer:{}", token.issuer.name));
        key.or(issuer)
            .or_else(|| self.certificate().map(|proof| proof.id.to_string()))
    }

    pub fn method(&self) -> AuthMethod {
        match (&self.certificate, &self.bearer) {
            (_, None) => AuthMethod::Mtls,
            (None, Some(Bearer::Key { .. })) => AuthMethod::Key,
            (None, Some(Bearer::Token { .. } | Bearer::Foreign { .. })) => AuthMethod::Token,
            (Some(_), Some(Bearer::Key { .. })) => AuthMethod::MtlsKey,
            (Some(_), Some(Bearer::Token { .. } | Bearer::Foreign { .. })) => AuthMethod::MtlsToken,
        }
    }
}
