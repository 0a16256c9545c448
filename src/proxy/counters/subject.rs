//! The subject of a bucket, and its text in the store.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use crate::domain::id::{AppId, KeyId};
use crate::domain::token::Subject as User;

/// The subject of a bucket: the sender of its requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    App(AppId),
    Key(KeyId),
    /// A user, as its App names it.
    User(AppId, User),
    Address(IpAddr),
    Route(Arc<str>),
}

/// A text that is not a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidSubject;

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(app) => write!(f, "app {app}"),
            Self::Key(key) => write!(f, "key {key}"),
            Self::User(app, user) => write!(f, "user {app} {}", user.as_str()),
            Self::Address(address) => write!(f, "address {address}"),
            Self::Route(route) => write!(f, "route {route}"),
        }
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = text.split_once(' ').ok_or(InvalidSubject)?;
        let read = match kind {
            "app" => rest.parse().ok().map(Self::App),
            "key" => rest.parse().ok().map(Self::Key),
            "user" => rest
                .split_once(' ')
                .and_then(|(app, user)| Some(Self::User(app.parse().ok()?, user.parse().ok()?))),
            "address" => rest.parse().ok().map(Self::Address),
            "route" => Some(Self::Route(rest.into())),
            _ => None,
        };
        read.ok_or(InvalidSubject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_reads_as_what_was_written() {
        let app = AppId::from_bits(1);
        for subject in [
            Subject::App(app),
            Subject::Key(KeyId::from_bits(2)),
            Subject::User(app, "alice|x".parse().unwrap()),
            Subject::Address("2001:db8::".parse().unwrap()),
            Subject::Route("POST api.test/a b".into()),
        ] {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        for bad in ["", "app", "app x", "user x y", "nobody 1"] {
            assert_eq!(bad.parse::<Subject>(), Err(InvalidSubject), "{bad}");
        }
    }
}
