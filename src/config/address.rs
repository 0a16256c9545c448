//! Addresses to listen on and to connect to, as text.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::text::text_value;
use crate::domain::upstream::Endpoint;

/// An address to listen on; `:8443` is every address of the machine, IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddress(pub SocketAddr);

/// The error for a text that is not an address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address to listen on is like 127.0.0.1:8443, [::1]:8443, or :8443 for every address")]
pub struct InvalidListenAddress;

impl ListenAddress {
    pub const fn every(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port))
    }

    pub const fn loopback(port: u16) -> Self {
        Self(SocketAddr::new(
            IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            port,
        ))
    }
}

impl std::str::FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(':') {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                port.parse().map(Self::every).ok()
            }
            Some(_) => None,
            None => text.parse().map(Self).ok(),
        }
        .ok_or(InvalidListenAddress)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            write!(f, ":{}", self.0.port())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

text_value!(
    ListenAddress,
    "ListenAddress",
    r"^.*:[0-9]{1,5}$",
    "An address to listen on: 127.0.0.1:8443, [::1]:8443, or :8443 for every address of the machine."
);

/// An address of an upstream: `http://10.0.0.5:9001` or `https://orders.internal`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointAddress(pub Endpoint);

/// The error for a text that is not the address of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    #[error("an endpoint is like http://10.0.0.5:9001 or https://orders.internal")]
    Spelling,
    #[error(
        "an endpoint has no user, path, query or fragment: the request's own path is forwarded"
    )]
    More,
}

impl std::str::FromStr for EndpointAddress {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(InvalidEndpoint::Spelling),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(InvalidEndpoint::More);
        }
        let (host, port) = host_and_port(authority).ok_or(InvalidEndpoint::Spelling)?;
        let port = match port {
            Some(port) => number(port).ok_or(InvalidEndpoint::Spelling)?,
            None if tls => 443,
            None => 80,
        };
        let host = host.to_ascii_lowercase();
        Ok(Self(Endpoint { tls, host, port }))
    }
}

/// A port that can be connected to.
fn number(port: &str) -> Option<u16> {
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|number| digits && *number > 0)
}

fn host_and_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        let _: Ipv6Addr = address.parse().ok()?;
        return match after.strip_prefix(':') {
            Some(port) => Some((address, Some(port))),
            None => after.is_empty().then_some((address, None)),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let fits = (1..=253).contains(&host.len());
    (fits && !host.starts_with(['.', '-']) && host.bytes().all(plain)).then_some((host, port))
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

text_value!(
    EndpointAddress,
    "EndpointAddress",
    r"^https?://[^/?#@]+/?$",
    "An address of an upstream: http://10.0.0.5:9001 or https://orders.internal."
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn listening_addresses_read_as_they_are_written() {
        for (text, address) in [
            (":8443", "[::]:8443"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:7443", "[::1]:7443"),
        ] {
            let read: ListenAddress = text.parse().unwrap();
            assert_eq!(read.0.to_string(), address);
            assert_eq!(read.to_string(), text);
        }
        for bad in [
            "",
            "8443",
            ":",
            ":70000",
            ":+1",
            "localhost:8443",
            "127.0.0.1",
        ] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoints_are_a_scheme_a_host_and_a_port() {
        for (text, written) in [
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
            ("http://Orders.internal/", "http://orders.internal:80"),
            ("https://[::1]:9443", "https://[::1]:9443"),
            ("https://[::1]", "https://[::1]:443"),
        ] {
            assert_eq!(
                text.parse::<EndpointAddress>().unwrap().to_string(),
                written
            );
        }
        for bad in [
            "",
            "orders:80",
            "ftp://x",
            "http://",
            "http://a b",
            "http://x:",
            "http://x:0",
            "http://x:99999",
            "http://[::1",
            "http://[x]:1",
            "http://[::1]x",
            "http://::1",
            "http://-x",
        ] {
            assert_eq!(
                bad.parse::<EndpointAddress>(),
                Err(InvalidEndpoint::Spelling),
                "{bad}"
            );
        }
        for bad in ["http://x/v1", "http://x?y", "http://u:p@x", "http://x#y"] {
            assert_eq!(
                bad.parse::<EndpointAddress>(),
                Err(InvalidEndpoint::More),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn an_address_to_listen_on_is_written_as_it_is_read(
            four in any::<[u8; 4]>(),
            six in any::<[u8; 16]>(),
            port in any::<u16>(),
        ) {
            for address in [SocketAddr::from((four, port)), SocketAddr::from((six, port))] {
                let address = ListenAddress(address);
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }

        #[test]
        fn an_endpoint_is_written_as_it_is_read(
            tls in any::<bool>(),
            host in prop_oneof![
                "[a-z0-9][a-z0-9._-]{0,60}",
                any::<[u8; 16]>().prop_map(|octets| Ipv6Addr::from(octets).to_string()),
            ],
            port in 1..u16::MAX,
        ) {
            let endpoint = EndpointAddress(Endpoint { tls, host, port });
            prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
        }

        #[test]
        fn no_text_is_an_endpoint_with_more_than_host_and_port(
            text in prop_oneof!["\\PC{0,40}", "https?://[a-z0-9.:@/?#\\[\\]_-]{0,30}"],
        ) {
            let _ = text.parse::<ListenAddress>();
            if let Ok(EndpointAddress(endpoint)) = text.parse::<EndpointAddress>() {
                prop_assert!(endpoint.port > 0 && !endpoint.host.is_empty());
                prop_assert!(!endpoint.host.contains(['@', '/', '?', '#', '[', ']', ' ']), "{}", text);
            }
        }
    }
}
