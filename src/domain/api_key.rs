//! API keys: what the registry keeps of them; never the secret.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::credential::{CredentialState, RevocationReason};
use super::id::{AppId, KeyId};
use super::limit::{Limit, Measure, Per};
use super::name::Name;
use super::origin::OriginPattern;
use super::scope::ScopeSet;
use super::sealed::Sealed;
use super::time::Timestamp;

/// The environment of a key: `sk_live_…` or `sk_test_…`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    #[default]
    Live,
    Test,
}

impl Environment {
    pub const ALL: [Self; 2] = [Self::Live, Self::Test];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// The kind of a key, which its first two letters tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// `sk_…`: proves an App from its servers, and gets tokens.
    #[default]
    Secret,
    /// `pk_…`: names an App from a page or a program that anybody can read. It opens only routes that accept it.
    Publishable,
    /// `sg_…`: signs requests, and is good for nothing else.
    Signing,
}

impl KeyKind {
    pub const ALL: [Self; 3] = [Self::Secret, Self::Publishable, Self::Signing];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Publishable => "publishable",
            Self::Signing => "signing",
        }
    }

    /// The beginning of such keys, for one environment.
    pub const fn prefix(self, environment: Environment) -> &'static str {
        match (self, environment) {
            (Self::Secret, Environment::Live) => "sk_live_",
            (Self::Secret, Environment::Test) => "sk_test_",
            (Self::Publishable, Environment::Live) => "pk_live_",
            (Self::Publishable, Environment::Test) => "pk_test_",
            (Self::Signing, Environment::Live) => "sg_live_",
            (Self::Signing, Environment::Test) => "sg_test_",
        }
    }
}

/// The digest under which a key's secret is kept: HMAC-SHA256 under the server's pepper, or SHA-256 without one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretDigest(pub [u8; 32]);

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(…)")
    }
}

/// The origin of a key's text and digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DigestKind {
    /// A text of our own form, made here.
    #[default]
    Own,
    /// SHA-256 of a text that another system made.
    Sha256,
    /// HMAC-SHA256, under our pepper, of a text that another system made.
    HmacSha256,
}

impl DigestKind {
    pub const ALL: [Self; 3] = [Self::Own, Self::Sha256, Self::HmacSha256];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Sha256 => "sha256",
            Self::HmacSha256 => "hmac-sha256",
        }
    }
}

/// The last characters of a key, by which people recognise it. They belong to its checksum, and say nothing of its
/// random part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyTail([u8; KEY_TAIL_CHARS]);

/// The characters of a [`KeyTail`].
pub const KEY_TAIL_CHARS: usize = 4;

impl KeyTail {
    /// The tail of a whole key or of a text that has nothing else; none if it has other characters than keys.
    pub fn of(text: &str) -> Option<Self> {
        let tail: &[u8; KEY_TAIL_CHARS] = text.as_bytes().last_chunk()?;
        tail.is_ascii()
            .then_some(*tail)
            .filter(|tail| tail.iter().all(u8::is_ascii_alphanumeric))
            .map(Self)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for KeyTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.as_str())
    }
}

/// The part of a key that may be shown: `sk_live_…abcd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHint {
    pub kind: KeyKind,
    pub environment: Environment,
    /// Absent for keys that were made before tails were kept, and for imported ones.
    pub tail: Option<KeyTail>,
}

/// The bytes of a hint: a prefix, the ellipsis, and a tail.
const HINT_BYTES: usize = 8 + "…".len() + KEY_TAIL_CHARS;

/// The text of a hint, without memory of its own: each line of the access log has one.
#[derive(Clone, Copy, Debug)]
pub struct HintText {
    bytes: [u8; HINT_BYTES],
    len: usize,
}

impl HintText {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The text in UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl KeyHint {
    pub fn text(self) -> HintText {
        let mut text = HintText {
            bytes: [0; HINT_BYTES],
            len: 0,
        };
        let tail = self.tail.as_ref().map_or("", KeyTail::as_str);
        for part in [self.kind.prefix(self.environment), "…", tail] {
            let end = text.len + part.len();
            if let Some(place) = text.bytes.get_mut(text.len..end) {
                place.copy_from_slice(part.as_bytes());
                text.len = end;
            }
        }
        text
    }
}

impl fmt::Display for KeyHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// The most networks that one key may be bound to.
pub const NETWORKS_MAX: usize = 32;

/// The most limits that one key may have: each is a counter, and all are asked for each of the key's requests.
pub const KEY_LIMITS_MAX: usize = 8;

/// A limit of one key. On routes with a limit of the same name it stands in that one's place; if no route has one, it
/// counts all requests of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLimit {
    pub name: Name,
    pub measure: Measure,
}

/// An API key as the registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub id: KeyId,
    pub app: AppId,
    pub name: Name,
    pub kind: KeyKind,
    pub environment: Environment,
    pub digest: SecretDigest,
    pub digest_kind: DigestKind,
    pub tail: Option<KeyTail>,
    /// The text itself, sealed. Only signing keys have it: a signature is checked with the text.
    pub sealed: Option<Sealed>,
    pub scopes: ScopeSet,
    /// The networks that may use the key; all when empty.
    pub networks: Vec<IpNet>,
    /// The origins whose pages may use the key; no condition when empty. Only publishable keys have any.
    pub origins: Vec<OriginPattern>,
    pub limits: Vec<KeyLimit>,
    pub state: CredentialState,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// The key that takes this one's place.
    pub successor: Option<KeyId>,
    pub revoked_at: Option<Timestamp>,
    pub revocation_reason: Option<RevocationReason>,
    /// True if tokens that were minted before the key's revocation count until their own end.
    pub tokens_outlive: bool,
}

impl ApiKey {
    pub fn hint(&self) -> KeyHint {
        KeyHint {
            kind: self.kind,
            environment: self.environment,
            tail: self.tail,
        }
    }

    /// The end of the overlap, for a key that has a successor.
    pub fn retires_at(&self) -> Option<Timestamp> {
        self.successor.and(self.expires_at)
    }

    /// The rules that few keys have.
    pub fn rules(&self) -> Option<Arc<KeyRules>> {
        KeyRules::of(&self.origins, &self.limits, self.sealed.clone())
    }

    /// A secret key of a test, which has no condition and no end.
    #[cfg(test)]
    pub fn sample(id: KeyId, app: AppId) -> Self {
        Self {
            id,
            app,
            name: "backend".parse().expect("a name"),
            kind: KeyKind::Secret,
            environment: Environment::Live,
            digest: SecretDigest([1; 32]),
            digest_kind: DigestKind::Own,
            tail: None,
            sealed: None,
            scopes: ScopeSet::default(),
            networks: Vec::new(),
            origins: Vec::new(),
            limits: Vec::new(),
            state: CredentialState::Active,
            created_at: Timestamp::from_unix_seconds(1_000_000),
            expires_at: None,
            successor: None,
            revoked_at: None,
            revocation_reason: None,
            tokens_outlive: false,
        }
    }
}

/// The rules of a key that few keys have, in the form that requests need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    pub origins: Box<[OriginPattern]>,
    pub limits: Box<[Arc<Limit>]>,
    /// The text of a signing key.
    pub sealed: Option<Sealed>,
}

impl KeyRules {
    /// The rules, if there are any.
    pub fn of(
        origins: &[OriginPattern],
        limits: &[KeyLimit],
        sealed: Option<Sealed>,
    ) -> Option<Arc<Self>> {
        if origins.is_empty() && limits.is_empty() && sealed.is_none() {
            return None;
        }
        let limit =
            |limit: &KeyLimit| Arc::new(Limit::new(limit.name.clone(), Per::Key, limit.measure));
        Some(Arc::new(Self {
            origins: origins.into(),
            limits: limits.iter().map(limit).collect(),
            sealed,
        }))
    }
}

/// The last use of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    pub at: Timestamp,
    pub from: IpAddr,
    /// The route's name.
    pub route: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_shows_the_kind_the_environment_and_four_characters() {
        let id = KeyId::from_bits(1);
        let mut key = ApiKey::sample(id, AppId::from_bits(1));
        assert_eq!(key.hint().to_string(), "sk_live_…");
        key.kind = KeyKind::Publishable;
        key.environment = Environment::Test;
        key.tail = KeyTail::of("pk_test_0123456789wxyz");
        assert_eq!(key.hint().to_string(), "pk_test_…wxyz");
        for bad in ["", "abc", "ab\u{e9}", "ab-c"] {
            assert_eq!(KeyTail::of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_key_retires_when_it_has_a_successor() {
        let end = Some(Timestamp::from_unix_seconds(5));
        let key = ApiKey {
            expires_at: end,
            ..ApiKey::sample(KeyId::from_bits(1), AppId::from_bits(1))
        };
        assert_eq!(key.retires_at(), None);
        let successor = Some(KeyId::from_bits(2));
        assert_eq!(ApiKey { successor, ..key }.retires_at(), end);
    }
}
