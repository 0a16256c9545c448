//! The other side of a connection, as accept and handshake have shown it.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::crypto::x509::Leaf;
use crate::domain::certificate::Fingerprint;
use crate::domain::local_call::{LocalPeer, ShownCertificate};
use crate::domain::time::Validity;
use crate::domain::tls_match::Handshake;
use crate::domain::tls_policy::{Shown, TlsPolicy, TlsVersion};

/// The origin of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client's address: the socket's, or the one in a trusted PROXY protocol header.
    pub address: IpAddr,
    /// True if the client is a proxy whose forwarding fields are trusted.
    pub trusted_hop: bool,
}

/// The facts about the other side that hold for as long as the connection lives.
#[derive(Clone, Debug)]
pub struct Peer {
    pub origin: Origin,
    /// The certificate whose key the client has proved to hold, and which chains to one of ours. The registry decides
    /// for each request whether it is valid.
    pub leaf: Option<Arc<Leaf>>,
    /// The TLS policy that the handshake was made under.
    pub policy: TlsPolicy,
    pub sni: Option<Box<str>>,
    pub tls_version: &'static str,
    /// True if ALPN chose HTTP/2; nothing else chooses it.
    pub http2: bool,
}

impl Peer {
    /// The handshake, as far as it decides which hosts the connection serves.
    pub fn handshake(&self) -> Handshake<'_> {
        Handshake {
            policy: self.policy,
            shown: Shown {
                certificate: self.leaf.is_some(),
                version: match self.tls_version {
                    "TLSv1.3" => TlsVersion::V1_3,
                    _ => TlsVersion::V1_2,
                },
            },
            sni: self.sni.as_deref(),
        }
    }

    /// The certificate, as the registry judges it.
    pub fn certificate(&self) -> Option<(&Fingerprint, &Validity)> {
        let leaf = self.leaf.as_deref();
        leaf.map(|leaf| (&leaf.fingerprint, &leaf.validity))
    }

    /// The facts for a local endpoint.
    pub fn to_local(&self) -> LocalPeer {
        LocalPeer {
            address: self.origin.address,
            certificate: self.leaf.as_deref().map(|leaf| ShownCertificate {
                serial: leaf.serial,
                fingerprint: leaf.fingerprint,
                subject: leaf.subject.clone(),
                validity: leaf.validity,
            }),
            tls_version: self.tls_version,
            sni: self.sni.clone(),
        }
    }
}

/// True if `address` lies in one of `networks`.
pub fn within(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_lies_in_its_ipv4_network() {
        let networks = ["192.0.2.0/24".parse().unwrap()];
        assert!(within(&networks, "::ffff:192.0.2.9".parse().unwrap()));
        assert!(!within(&networks, "192.0.3.9".parse().unwrap()));
    }
}
