//! The credentials that a route takes among those that prove what it requires: kinds, and environments.

use super::api_key::{Environment, KeyKind};
use super::identity::Bearer;

/// The kind of a key or a token, as a route names it in `accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    SecretKey,
    PublishableKey,
    /// A signature of the request.
    Signature,
    /// A token that speaks for its App alone.
    AppToken,
    /// A token that speaks for a user.
    UserToken,
}

impl CredentialKind {
    pub const ALL: [Self; 5] = [
        Self::SecretKey,
        Self::PublishableKey,
        Self::Signature,
        Self::AppToken,
        Self::UserToken,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecretKey => "secret_key",
            Self::PublishableKey => "publishable_key",
            Self::Signature => "signature",
            Self::AppToken => "app_token",
            Self::UserToken => "user_token",
        }
    }

    /// The kind of a proved credential; none for the text of a key that is good for signatures only, and for a token of
    /// another issuer, which a route takes by the issuer's name.
    pub fn of(bearer: &Bearer) -> Option<Self> {
        match bearer {
            Bearer::Key { facts, .. } if facts.signed.is_some() => Some(Self::Signature),
            Bearer::Key { facts, .. } => match facts.kind {
                KeyKind::Secret => Some(Self::SecretKey),
                KeyKind::Publishable => Some(Self::PublishableKey),
                KeyKind::Signing => None,
            },
            Bearer::Token { claims, .. } if claims.subject.is_some() => Some(Self::UserToken),
            Bearer::Token { .. } => Some(Self::AppToken),
            Bearer::Foreign { .. } => None,
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedKinds(u8);

impl AcceptedKinds {
    /// Everything that proves what a route requires, except publishable keys, which anybody can read, and signatures,
    /// for which a request's body is held.
    pub const DEFAULT: Self = Self(
        CredentialKind::SecretKey.bit()
            | CredentialKind::AppToken.bit()
            | CredentialKind::UserToken.bit(),
    );

    /// Every kind that is shown as a text, for endpoints that tell a caller who it is.
    pub const ALL: Self = Self(Self::DEFAULT.0 | CredentialKind::PublishableKey.bit());

    pub fn new(kinds: impl IntoIterator<Item = CredentialKind>) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | kind.bit()))
    }

    pub const fn has(self, kind: CredentialKind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// The kinds of the set, in their order.
    pub fn iter(self) -> impl Iterator<Item = CredentialKind> {
        CredentialKind::ALL
            .into_iter()
            .filter(move |kind| self.has(*kind))
    }
}

/// A set of environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Environments {
    live: bool,
    test: bool,
}

impl Environments {
    /// Test keys reach no route that does not name them.
    pub const DEFAULT: Self = Self {
        live: true,
        test: false,
    };

    pub const ALL: Self = Self {
        live: true,
        test: true,
    };

    pub fn new(environments: impl IntoIterator<Item = Environment>) -> Self {
        let mut set = Self {
            live: false,
            test: false,
        };
        for environment in environments {
            match environment {
                Environment::Live => set.live = true,
                Environment::Test => set.test = true,
            }
        }
        set
    }

    pub const fn has(self, environment: Environment) -> bool {
        match environment {
            Environment::Live => self.live,
            Environment::Test => self.test,
        }
    }

    /// The environments of the set, in their order.
    pub fn iter(self) -> impl Iterator<Item = Environment> {
        [Environment::Live, Environment::Test]
            .into_iter()
            .filter(move |environment| self.has(*environment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_it_was_made_of() {
        let set = AcceptedKinds::new([CredentialKind::AppToken, CredentialKind::PublishableKey]);
        let listed: Vec<_> = set.iter().map(CredentialKind::as_str).collect();
        assert_eq!(listed, ["publishable_key", "app_token"]);
        assert_eq!(AcceptedKinds::ALL.iter().count(), 4);
        assert!(!AcceptedKinds::DEFAULT.has(CredentialKind::PublishableKey));
        let both = Environments::new([Environment::Test, Environment::Live]);
        assert_eq!(both, Environments::ALL);
        let test = Environments::new([Environment::Test]);
        assert_eq!(test.iter().collect::<Vec<_>>(), [Environment::Test]);
        assert!(!Environments::DEFAULT.has(Environment::Test));
    }
}
