//! TLS handshakes: a socket becomes a peer with its proved certificate, or the reason of the refusal.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use quick_cache::unsync::Cache;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::crypto::x509::{self, Leaf};
use crate::crypto::{alert, hash, verifier};
use crate::domain::certificate::Fingerprint;
use crate::domain::reason::Reason;
use crate::domain::snapshot::HostPolicies;
use crate::domain::tls_policy::TlsPolicy;
use crate::net::tls::{self, AcceptError, ServerConfig, ServerStream};

use super::handshake_failure::{HandshakeFailure, NotOpened};
use crate::proxy::connections::peer::{Origin, Peer};

/// The TLS policies of handshakes: one for all hosts, and others for hosts that need another.
#[derive(Debug)]
pub struct TlsPolicies {
    /// The generation of the catalogue that judges connections opened under them.
    generation: u64,
    configs: HashMap<TlsPolicy, Arc<ServerConfig>>,
    hosts: HostPolicies,
    general: Arc<ServerConfig>,
    /// True if connections keep their client's certificate, because upstreams get it.
    keep_certificates: bool,
}

/// The error for a host whose policy does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no TLS configuration for {0:?}")]
pub struct PolicyMissing(pub TlsPolicy);

impl TlsPolicies {
    pub fn new(
        generation: u64,
        configs: HashMap<TlsPolicy, Arc<ServerConfig>>,
        hosts: HostPolicies,
    ) -> Result<Self, PolicyMissing> {
        let find = |policy: TlsPolicy| configs.get(&policy).ok_or(PolicyMissing(policy));
        let general = Arc::clone(find(hosts.general)?);
        for policy in hosts.by_host.values() {
            find(*policy)?;
        }
        Ok(Self {
            generation,
            configs,
            hosts,
            general,
            keep_certificates: false,
        })
    }

    /// The same policies, for connections that keep their client's certificate.
    #[must_use]
    pub fn keeping_certificates(self, keep: bool) -> Self {
        Self {
            keep_certificates: keep,
            ..self
        }
    }

    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The policy and configuration of a handshake, and whether the connection keeps its client's certificate.
    pub fn pick(&self, sni: Option<&str>) -> Picked {
        let name = sni.map(|name| name.strip_suffix('.').unwrap_or(name));
        let policy = name.map_or(self.hosts.general, |name| self.hosts.of(name));
        let (policy, config) = match self.configs.get(&policy) {
            Some(config) => (policy, config),
            // Hosts have policies that exist, so this default is never used for a missing one.
            None => (self.hosts.general, &self.general),
        };
        Picked {
            policy,
            config: Arc::clone(config),
            keep_certificate: self.keep_certificates,
        }
    }
}

/// The policy of one handshake.
#[derive(Debug)]
pub struct Picked {
    policy: TlsPolicy,
    config: Arc<ServerConfig>,
    keep_certificate: bool,
}

/// Certificates that this worker has parsed lately, by their digest: partners come back, and connections of one partner
/// share the parsed facts of its certificate.
#[derive(Debug)]
pub struct Leaves(RefCell<Cache<Fingerprint, Arc<Leaf>>>);

/// The most certificates; about 1 KiB each, and as much again where the certificate itself is kept.
const LEAVES_MAX: usize = 4096;

impl Default for Leaves {
    fn default() -> Self {
        Self(RefCell::new(Cache::new(LEAVES_MAX)))
    }
}

impl Leaves {
    /// Parses a certificate, and keeps its DER beside the facts if `whole`.
    fn read(&self, der: &[u8], whole: bool) -> Result<Arc<Leaf>, Reason> {
        let fingerprint = hash::fingerprint(der);
        let mut kept = self.0.borrow_mut();
        if let Some(leaf) = kept.get(&fingerprint)
            && leaf.der.is_some() == whole
        {
            return Ok(Arc::clone(leaf));
        }
        let mut leaf = x509::read_leaf(der).ok().ok_or(Reason::CertMalformed)?;
        leaf.der = whole.then(|| der.into());
        let leaf = Arc::new(leaf);
        kept.insert(fingerprint, Arc::clone(&leaf));
        Ok(leaf)
    }
}

/// The result of a finished handshake.
#[derive(Debug)]
pub struct Proved<S> {
    pub stream: ServerStream<S>,
    pub peer: Peer,
    pub resumed: bool,
}

/// Performs a handshake before `deadline`, under the policy that `pick` returns for the client's SNI. A client whose
/// certificate does not chain to one of our authorities has got its alert when this fails.
pub async fn prove<S>(
    stream: S,
    origin: Origin,
    pick: impl FnOnce(Option<&str>) -> Picked,
    leaves: &Leaves,
    deadline: Instant,
) -> Result<Proved<S>, NotOpened>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut asked, mut refused) = (None, None);
    let pick = |sni: Option<&str>| {
        asked = sni.map(Box::from);
        let picked = pick(sni);
        ((picked.policy, picked.keep_certificate), picked.config)
    };
    let shaken = noting_refused(tls::accept(stream, pick, deadline), &mut refused).await;
    let shaken = match shaken {
        Ok(shaken) => shaken,
        Err(error) => return Err(failure(error, asked, refused)),
    };
    let (policy, keep) = shaken.policy;
    let leaf = shaken
        .peer_certificate
        .map(|der| leaves.read(&der, keep))
        .transpose()?;
    Ok(Proved {
        stream: shaken.stream,
        resumed: shaken.resumed,
        peer: Peer {
            origin,
            leaf,
            policy,
            sni: shaken.sni.map(String::into_boxed_str),
            tls_version: shaken.version,
            http2: shaken.alpn_h2,
        },
    })
}

/// Keeps a certificate that is refused while `handshake` is polled: no other handshake of this thread runs in the same
/// poll.
async fn noting_refused<T>(handshake: impl Future<Output = T>, refused: &mut Option<Vec<u8>>) -> T {
    let mut handshake = pin!(handshake);
    poll_fn(|cx| {
        let polled = handshake.as_mut().poll(cx);
        if let Some(certificate) = verifier::take_refused() {
            *refused = Some(certificate);
        }
        polled
    })
    .await
}

fn failure(error: AcceptError, sni: Option<Box<str>>, certificate: Option<Vec<u8>>) -> NotOpened {
    NotOpened::Refused(Box::new(HandshakeFailure {
        reason: reason(&error),
        sni,
        cause: Some(error),
        certificate,
    }))
}

fn reason(error: &AcceptError) -> Reason {
    match error {
        AcceptError::PlainHttp => Reason::PlainHttp,
        AcceptError::Timeout(_) => Reason::HandshakeTimeout,
        AcceptError::Failed(source) => alert::refusal_of_io(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_kept_itself_while_somebody_wants_it() {
        let pem = include_str!("../identity_headers/testdata/partner.pem");
        let der = x509::pem_to_der(pem).unwrap();
        let leaves = Leaves::default();
        let read = |whole| leaves.read(&der, whole).unwrap();
        assert_eq!(read(false).der, None);
        assert!(Arc::ptr_eq(&read(false), &read(false)));
        assert_eq!(read(true).der.as_deref(), Some(&*der));
        assert!(Arc::ptr_eq(&read(true), &read(true)));
        assert_eq!(read(false).der, None, "nobody wants it any more");
        assert_eq!(leaves.read(b"garbage", true), Err(Reason::CertMalformed));
    }
}
