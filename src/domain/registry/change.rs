//! Changes: the objects of the registry with their new values, each allowed by a rule.

use super::super::admin::AdminToken;
use super::super::api_key::ApiKey;
use super::super::app::App;
use super::super::certificate::Certificate;
use super::super::session::Session;
use super::super::token_end::TokenEnd;

/// An object's new value, which a rule has allowed. Only the rules make one, so that the store keeps nothing unjudged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed<T> {
    value: T,
    is_new: bool,
}

impl<T> Allowed<T> {
    /// An object that was not there before.
    pub(super) const fn created(value: T) -> Self {
        Self {
            value,
            is_new: true,
        }
    }

    /// An object that was there before.
    pub(super) const fn changed(value: T) -> Self {
        Self {
            value,
            is_new: false,
        }
    }

    /// An object that no rule has judged.
    #[cfg(test)]
    pub const fn unjudged(value: T, is_new: bool) -> Self {
        Self { value, is_new }
    }

    /// True if the object was not there before.
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    pub const fn value(&self) -> &T {
        &self.value
    }

    #[cfg(test)]
    pub fn into_value(self) -> T {
        self.value
    }
}

/// One object of the registry with its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    AdminToken(Allowed<AdminToken>),
    App(Allowed<App>),
    Certificate(Allowed<Certificate>),
    Key(Allowed<ApiKey>),
    Session(Allowed<Session>),
    TokenEnd(Allowed<TokenEnd>),
}

impl From<Allowed<AdminToken>> for Change {
    fn from(token: Allowed<AdminToken>) -> Self {
        Self::AdminToken(token)
    }
}

impl From<Allowed<Session>> for Change {
    fn from(session: Allowed<Session>) -> Self {
        Self::Session(session)
    }
}

impl From<Allowed<TokenEnd>> for Change {
    fn from(end: Allowed<TokenEnd>) -> Self {
        Self::TokenEnd(end)
    }
}

impl From<Allowed<App>> for Change {
    fn from(app: Allowed<App>) -> Self {
        Self::App(app)
    }
}

impl From<Allowed<Certificate>> for Change {
    fn from(certificate: Allowed<Certificate>) -> Self {
        Self::Certificate(certificate)
    }
}

impl From<Allowed<ApiKey>> for Change {
    fn from(key: Allowed<ApiKey>) -> Self {
        Self::Key(key)
    }
}
