//! A duration on the command line: `90d`, `24h`, `1h30m`.

use std::str::FromStr;

use crate::domain::duration::{self, InvalidDuration};

/// A well-formed duration. It is sent to the gateway as text; the gateway decides whether it is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span(String);

impl Span {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Span {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        duration::parse(text).map(|_| Self(text.to_owned()))
    }
}
