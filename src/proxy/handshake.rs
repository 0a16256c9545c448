//! A socket becomes a peer: what TLS proved of the other side, or the reason why there is no connection.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::crypto::{tls as meaning, x509};
use crate::domain::reason::Reason;
use crate::domain::snapshot::HostPolicies;
use crate::net::tls::{self, AcceptError, ServerConfig, ServerStream};

use super::peer::{Origin, Peer};

/// How handshakes are made: one policy for all hosts, and others for hosts that want another.
#[derive(Debug)]
pub struct TlsPolicies {
    by_number: HashMap<u16, Arc<ServerConfig>>,
    hosts: HostPolicies,
    general: Arc<ServerConfig>,
}

/// Hosts are given a policy that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no TLS policy {0}")]
pub struct PolicyMissing(pub u16);

impl TlsPolicies {
    pub fn new(
        by_number: HashMap<u16, Arc<ServerConfig>>,
        hosts: HostPolicies,
    ) -> Result<Self, PolicyMissing> {
        let find = |number: u16| by_number.get(&number).ok_or(PolicyMissing(number));
        let general = Arc::clone(find(hosts.general)?);
        for policy in hosts.by_host.values() {
            find(*policy)?;
        }
        Ok(Self {
            by_number,
            hosts,
            general,
        })
    }

    fn pick(&self, sni: Option<&str>) -> (u16, Arc<ServerConfig>) {
        let name = sni.map(|name| name.strip_suffix('.').unwrap_or(name));
        let number = name.map_or(self.hosts.general, |name| self.hosts.of(name));
        match self.by_number.get(&number) {
            Some(config) => (number, Arc::clone(config)),
            // Hosts have policies that exist, so this one is never missed.
            None => (self.hosts.general, Arc::clone(&self.general)),
        }
    }
}

/// What a finished handshake gives.
#[derive(Debug)]
pub struct Proved<S> {
    pub stream: ServerStream<S>,
    pub peer: Peer,
    pub resumed: bool,
}

/// Shakes hands before `deadline`. A client whose certificate does not lead to one of our authorities
/// has got its alert when this fails.
pub async fn prove<S>(
    stream: S,
    origin: Origin,
    policies: &TlsPolicies,
    deadline: Instant,
) -> Result<Proved<S>, Reason>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let shaken = tls::accept(stream, |sni| policies.pick(sni), deadline)
        .await
        .map_err(|error| reason(&error))?;
    let leaf = shaken
        .peer_certificate
        .map(|der| x509::read_leaf(&der))
        .transpose()
        .ok()
        .ok_or(Reason::CertMalformed)?;
    Ok(Proved {
        stream: shaken.stream,
        resumed: shaken.resumed,
        peer: Peer {
            origin,
            leaf: leaf.map(Arc::new),
            policy: shaken.policy,
            sni: shaken.sni.map(String::into_boxed_str),
            tls_version: shaken.version,
            http2: shaken.alpn_h2,
        },
    })
}

fn reason(error: &AcceptError) -> Reason {
    match error {
        AcceptError::Timeout(_) => Reason::HandshakeTimeout,
        AcceptError::Failed(source) => meaning::refusal_of_io(source),
    }
}
