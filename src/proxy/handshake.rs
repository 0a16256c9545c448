//! A socket becomes a peer: what TLS proved of the other side, or the reason why there is no connection.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::crypto::{tls as meaning, x509};
use crate::domain::reason::Reason;
use crate::net::tls::{self, AcceptError, ServerConfig, ServerStream};

use super::peer::{Origin, Peer};

/// How handshakes are made: one policy for all hosts, and others for hosts that want another.
#[derive(Debug)]
pub struct TlsPolicies {
    /// By their number; the first is for every host that has none of its own.
    configs: Vec<Arc<ServerConfig>>,
    by_host: HashMap<String, u16>,
}

/// A host is given a policy that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no TLS policy {policy} for {host}")]
pub struct PolicyMissing {
    pub host: String,
    pub policy: u16,
}

impl TlsPolicies {
    pub fn new(
        first: Arc<ServerConfig>,
        others: Vec<Arc<ServerConfig>>,
        by_host: HashMap<String, u16>,
    ) -> Result<Self, PolicyMissing> {
        let configs: Vec<_> = std::iter::once(first).chain(others).collect();
        for (host, policy) in &by_host {
            if usize::from(*policy) >= configs.len() {
                return Err(PolicyMissing {
                    host: host.clone(),
                    policy: *policy,
                });
            }
        }
        Ok(Self { configs, by_host })
    }

    fn pick(&self, sni: Option<&str>) -> (u16, Arc<ServerConfig>) {
        let name = sni.map(|name| name.strip_suffix('.').unwrap_or(name));
        let policy = name
            .and_then(|name| self.by_host.get(name))
            .copied()
            .unwrap_or(0);
        let config = self
            .configs
            .get(usize::from(policy))
            .or_else(|| self.configs.first())
            .expect("there is a first policy, and hosts have policies that exist");
        (policy, Arc::clone(config))
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
