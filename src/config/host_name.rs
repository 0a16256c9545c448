//! The name of a host, as it is written.

use std::fmt;

use super::text::text_value;
use crate::domain::request::normal_host;
use crate::domain::route::{HostPattern, InvalidPattern};

/// A host as a key of `hosts`, or a name of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(pub HostPattern);

/// A text that is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
    /// Two spellings of one host would be two hosts to a reader and one to the gateway.
    #[error("a host is written in lower case, without port and trailing dot: {0}")]
    Spelling(String),
}

impl std::str::FromStr for HostName {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(domain) => ("*.", domain),
            None => ("", text),
        };
        match text.parse() {
            Ok(pattern) => Ok(Self(pattern)),
            Err(refusal) => match normal_host(name) {
                Some(normal) if normal != name => {
                    Err(InvalidHost::Spelling(format!("{wildcard}{normal}")))
                }
                _ => Err(InvalidHost::Pattern(refusal)),
            },
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

text_value!(
    HostName,
    "HostName",
    r"^(\*|(\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\])$",
    "A host: api.example.com, *.example.com, or * for any."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for (text, expected) in [
            ("API.Example.com", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("api.example.com:8443", "api.example.com"),
            ("*.Example.com", "*.example.com"),
        ] {
            let refusal = text.parse::<HostName>().unwrap_err();
            assert_eq!(
                refusal,
                InvalidHost::Spelling(expected.to_owned()),
                "{text}"
            );
        }
        assert_eq!(
            "a b".parse::<HostName>(),
            Err(InvalidHost::Pattern(InvalidPattern::Host))
        );
        assert!("*".parse::<HostName>().is_ok());
    }
}
