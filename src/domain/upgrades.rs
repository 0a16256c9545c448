//! The protocols that a route opens in place of HTTP.

use std::fmt;
use std::str::FromStr;

/// The longest name of a protocol; those that are registered have fewer characters.
const NAME_MAX: usize = 64;

/// The name of a protocol as `Upgrade` and `:protocol` have it: `websocket`, `name/version`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpgradeProtocol(Box<str>);

/// A text that names no protocol which can be tunnelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProtocol {
    #[error("a protocol is named like websocket or name/version")]
    Name,
    /// It would open a way to the upstream on which nothing is looked at.
    #[error("HTTP and TLS are never tunnelled")]
    Never,
}

impl FromStr for UpgradeProtocol {
    type Err = InvalidProtocol;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
        let token = |part: &str| !part.is_empty() && part.bytes().all(letter);
        let (name, version) = match text.split_once('/') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        if text.len() > NAME_MAX || !token(name) || !version.is_none_or(token) {
            return Err(InvalidProtocol::Name);
        }
        let lower = name.to_ascii_lowercase();
        if matches!(
            &*lower,
            "h2" | "h2c" | "h3" | "http" | "https" | "tls" | "ssl"
        ) {
            return Err(InvalidProtocol::Never);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for UpgradeProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrades(Box<[UpgradeProtocol]>);

impl Upgrades {
    /// True if it has the protocol of that name, in upper or lower case.
    pub fn name(&self, protocol: &[u8]) -> bool {
        let named = |known: &UpgradeProtocol| known.0.as_bytes().eq_ignore_ascii_case(protocol);
        self.0.iter().any(named)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &UpgradeProtocol> {
        self.0.iter()
    }
}

impl FromIterator<UpgradeProtocol> for Upgrades {
    fn from_iter<I: IntoIterator<Item = UpgradeProtocol>>(protocols: I) -> Self {
        Self(protocols.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_a_name_and_perhaps_a_version() {
        for good in ["websocket", "WebSocket", "mine/2.0", "connect-udp"] {
            assert_eq!(good.parse::<UpgradeProtocol>().unwrap().to_string(), good);
        }
        let long = "x".repeat(NAME_MAX + 1);
        for bad in ["", "a b", "a/", "/1", "a/b/c", "a,b", "ä", &long] {
            assert_eq!(
                bad.parse::<UpgradeProtocol>(),
                Err(InvalidProtocol::Name),
                "{bad}"
            );
        }
        for never in ["h2c", "H2C", "h2", "HTTP/1.1", "TLS/1.0", "h2c/1"] {
            assert_eq!(
                never.parse::<UpgradeProtocol>(),
                Err(InvalidProtocol::Never),
                "{never}"
            );
        }
    }

    #[test]
    fn a_protocol_is_found_whatever_its_case() {
        let set: Upgrades = ["websocket".parse().unwrap()].into_iter().collect();
        assert!(set.name(b"WebSocket") && !set.name(b"websocket/1") && !set.name(b""));
    }
}
