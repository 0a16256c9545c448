//! TLS policies: the certificates of listeners, the request for client certificates, the trust in upstreams, and the
//! reason of the catalogue for a failed handshake.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, Error, RootCertStore, ServerConfig, SupportedProtocolVersion,
};

use super::chain::Chain;
use super::pem;
use super::pinned::PinnedVerifier;
use super::provider::provider;
use super::ticketer::ticketer;
use super::tls_error::TlsError;
use crate::domain::cause::Cause;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::domain::tls_policy::TlsVersion;

/// A server certificate with its chain, and its private key.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    pub cert_pem: String,
    pub key_pem: Secret,
}

/// The certificates of a listener, chosen by SNI. They can be replaced while connections are open.
#[derive(Debug)]
pub struct ServerCertificates {
    shown: ArcSwap<Vec<Shown>>,
}

/// A certificate ready for use.
#[derive(Debug)]
struct Shown {
    /// Lower-case DNS names; one that begins with `*.` matches one label.
    names: Vec<String>,
    not_after: Timestamp,
    key: Arc<CertifiedKey>,
}

impl ServerCertificates {
    /// Takes at least one certificate; the first is for clients that name no host, or an unknown one.
    pub fn new(certificates: Vec<ServerCertificate>) -> Result<Self, TlsError> {
        Ok(Self {
            shown: ArcSwap::from_pointee(load_all(certificates)?),
        })
    }

    /// Replaces all certificates; if one of the new ones cannot be used, nothing changes.
    pub fn replace(&self, certificates: Vec<ServerCertificate>) -> Result<(), TlsError> {
        self.shown.store(Arc::new(load_all(certificates)?));
        Ok(())
    }

    /// The end of each certificate, by its first name.
    pub fn not_after(&self) -> Vec<(String, Timestamp)> {
        let shown = self.shown.load();
        let named = |one: &Shown| {
            let name = one.names.first().cloned().unwrap_or_default();
            (name, one.not_after)
        };
        shown.iter().map(named).collect()
    }
}

impl ResolvesServerCert for ServerCertificates {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.load();
        let sni = client_hello.server_name();
        let schemes = client_hello.signature_schemes();
        let fits = |shown: &&Shown| shown.key.key.choose_scheme(schemes).is_some();
        // Several certificates for one name, say RSA beside ECDSA, serve clients of several ages.
        let named = candidates(&shown, sni);
        let chosen = named
            .iter()
            .copied()
            .find(fits)
            .or_else(|| named.first().copied())
            .or_else(|| shown.first())?;
        Some(Arc::clone(&chosen.key))
    }
}

/// The certificates for a name: those that spell it out, else those with a wildcard for it.
fn candidates<'s>(shown: &'s [Shown], sni: Option<&str>) -> Vec<&'s Shown> {
    let Some(name) = sni else {
        return Vec::new();
    };
    let having = |wanted: &str| -> Vec<&'s Shown> {
        let has = |shown: &&Shown| {
            shown
                .names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(wanted))
        };
        shown.iter().filter(has).collect()
    };
    let exact = having(name);
    if !exact.is_empty() {
        return exact;
    }
    match name.split_once('.') {
        Some((_, parent)) => having(&format!("*.{parent}")),
        None => Vec::new(),
    }
}

fn load_all(certificates: Vec<ServerCertificate>) -> Result<Vec<Shown>, TlsError> {
    if certificates.is_empty() {
        return Err(TlsError::NoCertificates);
    }
    certificates.into_iter().map(load).collect()
}

fn load(certificate: ServerCertificate) -> Result<Shown, TlsError> {
    let ServerCertificate { cert_pem, key_pem } = certificate;
    let chain = Chain::read(&cert_pem, &key_pem)?;
    let leaf = chain.leaf()?;
    let dns_names = leaf
        .sans
        .iter()
        .filter_map(|name| name.strip_prefix("DNS:"));
    Ok(Shown {
        names: dns_names.map(str::to_ascii_lowercase).collect(),
        not_after: leaf.validity.not_after,
        key: Arc::new(chain.certified_key()),
    })
}

/// The configuration of a listener, or of those of its hosts that share a policy.
///
/// Each call begins a new generation of tickets. Resumption skips the client verifier, so a change of trust needs a new
/// configuration, and no session of the old one is resumed.
pub fn server_config(
    certificates: Arc<ServerCertificates>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    min: TlsVersion,
    alpn_h2: bool,
) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(min))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificates);
    config.alpn_protocols = alpn(alpn_h2, true);
    // Clients that are set to HTTP/1.0 offer nothing else. Its requests name their version.
    config.alpn_protocols.push(b"http/1.0".to_vec());
    config.ticketer = ticketer()?;
    // A session brings its successor, so one is enough for clients that open connections one after the other, or keep
    // as many sessions as they have connections. Clients that want more at once ask for them (RFC 9149).
    config.send_tls13_tickets = 1;
    config.max_tls13_tickets = TICKETS_MAX;
    // Tickets hold the sessions, so there is no table that outsiders could fill.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    Ok(Arc::new(config))
}

/// The maximum number of tickets that a client may ask for in one handshake.
const TICKETS_MAX: usize = 4;

static ALL_VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS13, &rustls::version::TLS12];

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match min {
        TlsVersion::V1_2 => &ALL_VERSIONS,
        TlsVersion::V1_3 => ALL_VERSIONS.get(..1).unwrap_or(&ALL_VERSIONS),
    }
}

fn alpn(h2: bool, http1: bool) -> Vec<Vec<u8>> {
    let offered = [(h2, "h2"), (http1, "http/1.1")];
    let offered = offered.iter().filter(|(wanted, _)| *wanted);
    offered.map(|(_, name)| name.as_bytes().to_vec()).collect()
}

/// The authorities that an upstream's certificate may come from.
#[derive(Clone, Debug)]
pub enum Roots {
    /// The authorities of the operating system.
    System,
    /// The authorities in a PEM text, and no other. Each certificate in it is also trusted as itself.
    Pem(String),
}

/// The TLS of connections to an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    pub roots: Roots,
    /// The client certificate for the upstream: the chain in PEM and its key, if the upstream asks for one.
    pub identity: Option<(String, Secret)>,
    pub http2: bool,
}

/// The configuration for connections to an upstream.
pub fn upstream_config(upstream: UpstreamTls) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(TlsVersion::V1_2))?;
    let builder = match upstream.roots {
        Roots::System => builder.with_root_certificates(system_roots()?),
        Roots::Pem(text) => {
            let certificates = pem::certificates(&text)?;
            let verifier = PinnedVerifier::new(certificates, provider());
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier.map_err(TlsError::Roots)?)
        }
    };
    let mut config = match upstream.identity {
        None => builder.with_no_client_auth(),
        Some((cert_pem, key_pem)) => {
            let chain = Chain::read(&cert_pem, &key_pem)?;
            builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(chain.certified_key())))
        }
    };
    config.alpn_protocols = alpn(upstream.http2, !upstream.http2);
    Ok(Arc::new(config))
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    // Systems carry old certificates that cannot be read any more; the others are used.
    let found = rustls_native_certs::load_native_certs().certs;
    store.add_parsable_certificates(found);
    if store.is_empty() {
        return Err(TlsError::NoSystemRoots);
    }
    Ok(store)
}

/// The cause of a failure in a handshake with an upstream, or after it.
pub fn upstream_cause(error: &io::Error) -> Cause {
    use CertificateError as E;
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(error)) => match error {
            E::NotValidForName | E::NotValidForNameContext { .. } => Cause::TlsName,
            E::Expired | E::ExpiredContext { .. } => Cause::TlsExpired,
            E::NotValidYet | E::NotValidYetContext { .. } => Cause::TlsNotYetValid,
            _ => Cause::TlsUntrusted,
        },
        Some(Error::AlertReceived(_)) => Cause::TlsRefused,
        Some(Error::InvalidMessage(_)) => Cause::TlsNotSpoken,
        _ => Cause::TlsFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::alert::{refusal, refusal_of_io};
    use crate::crypto::authority::Authority;
    use crate::crypto::chain::ChainError;
    use crate::crypto::testing::{Pki, client_params, handshake, hours, now};
    use crate::crypto::verifier::{RegistryView, client_verifier};
    use crate::crypto::x509;
    use crate::domain::certificate::Fingerprint;
    use crate::domain::reason::Reason;
    use crate::domain::time::Validity;
    use crate::domain::tls_policy::{ClientAuthMode, Reject};
    use rustls::HandshakeKind;

    #[derive(Debug)]
    struct Everyone;

    impl RegistryView for Everyone {
        fn judge(&self, _: &Fingerprint, _: &Validity) -> Result<(), Reason> {
            Ok(())
        }
    }

    fn certificate(authority: &Authority, hosts: &[&str]) -> ServerCertificate {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let (cert_pem, key_pem) = authority.issue_server(&hosts, now()).unwrap();
        ServerCertificate { cert_pem, key_pem }
    }

    #[test]
    fn the_server_name_picks_the_certificate() {
        let pki = Pki::new();
        let shown = ServerCertificates::new(vec![
            certificate(&pki.authority, &["first.test"]),
            certificate(&pki.authority, &["*.second.test"]),
            certificate(&pki.authority, &["api.second.test"]),
        ])
        .unwrap();
        let names = shown.not_after();
        let names: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["first.test", "*.second.test", "api.second.test"]);
        let server = server_config(Arc::new(shown), None, TlsVersion::V1_2, true).unwrap();
        let client = Arc::new(pki.connector(None));
        for (name, accepted) in [
            ("first.test", true),
            ("FIRST.test", true),
            ("api.second.test", true),
            ("other.second.test", true),
            ("a.b.second.test", false),
            ("second.test", false),
            ("third.test", false),
        ] {
            let (_, refused) = handshake(&server, &client, name);
            assert_eq!(refused.is_none(), accepted, "{name}: {refused:?}");
        }
    }

    #[test]
    fn certificates_are_replaced_whole_or_not_at_all() {
        let pki = Pki::new();
        let shown = ServerCertificates::new(vec![certificate(&pki.authority, &["old.test"])]);
        let shown = Arc::new(shown.unwrap());
        let server = server_config(Arc::clone(&shown), None, TlsVersion::V1_2, false).unwrap();
        // A new client each time: a client that returns resumes, and checks no certificate.
        let refused = |name| handshake(&server, &Arc::new(pki.connector(None)), name).1;
        let one = certificate(&pki.authority, &["new.test"]);
        let other = certificate(&pki.authority, &["other.test"]);
        let mixed = ServerCertificate {
            cert_pem: one.cert_pem.clone(),
            key_pem: other.key_pem,
        };
        assert!(matches!(
            shown.replace(vec![one.clone(), mixed]),
            Err(TlsError::Chain(ChainError::OtherKey(_)))
        ));
        assert!(matches!(
            shown.replace(Vec::new()),
            Err(TlsError::NoCertificates)
        ));
        assert!(refused("old.test").is_none());
        shown.replace(vec![one]).unwrap();
        assert!(refused("new.test").is_none());
        assert!(refused("old.test").is_some());
    }

    #[test]
    fn what_cannot_be_shown_is_refused() {
        let pki = Pki::new();
        let good = certificate(&pki.authority, &["a.test"]);
        for (cert_pem, key_pem) in [
            ("", good.key_pem.expose()),
            ("garbage", good.key_pem.expose()),
            (good.cert_pem.as_str(), ""),
            (&good.cert_pem, &good.cert_pem),
            (&x509::der_to_pem(b"garbage"), good.key_pem.expose()),
        ] {
            let broken = ServerCertificate {
                cert_pem: cert_pem.to_owned(),
                key_pem: Secret::new(key_pem.to_owned()),
            };
            assert!(ServerCertificates::new(vec![broken]).is_err());
        }
    }

    #[test]
    fn the_oldest_version_is_the_one_that_was_asked_for() {
        let pki = Pki::new();
        let old = Arc::new(pki.connector_for(None, &[&rustls::version::TLS12]));
        let new = Arc::new(pki.connector_for(None, &[&rustls::version::TLS13]));
        let lenient = pki.server(None, TlsVersion::V1_2);
        let strict = pki.server(None, TlsVersion::V1_3);
        assert!(handshake(&lenient, &old, "localhost").0.is_ok());
        assert!(handshake(&lenient, &new, "localhost").0.is_ok());
        assert!(handshake(&strict, &new, "localhost").0.is_ok());
        let (refused, _) = handshake(&strict, &old, "localhost");
        assert_eq!(refusal(&refused.unwrap_err()), Reason::HandshakeFailed);
    }

    #[test]
    fn the_protocol_is_agreed_on_by_name() {
        let pki = Pki::new();
        let server = pki.server(None, TlsVersion::V1_2);
        for (offered, expected) in [
            (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
            (&[b"http/1.1"], Some(b"http/1.1")),
            (&[b"http/1.0"], Some(b"http/1.0")),
            (&[b"http/1.0", b"http/1.1"], Some(b"http/1.1")),
            (&[b"h3", b"http/1.0"], Some(b"http/1.0")),
            (&[], None),
        ] {
            let mut client = pki.connector(None);
            client.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
            let (server, _) = handshake(&server, &Arc::new(client), "localhost");
            assert_eq!(server.unwrap().alpn_protocol(), expected);
        }
        let mut client = pki.connector(None);
        client.alpn_protocols = vec![b"h3".to_vec()];
        let (refused, _) = handshake(&server, &Arc::new(client), "localhost");
        assert_eq!(refusal(&refused.unwrap_err()), Reason::HandshakeFailed);
    }

    /// Resumption skips the verifier, so no ticket may outlive the trust that it was issued under.
    #[test]
    fn a_new_configuration_resumes_no_session_of_the_old_one() {
        let pki = Pki::new();
        let partner = pki.client(&client_params(hours(-1, 1)));
        let policy = || {
            let anchors = pki.authority.anchors();
            let (mode, reject) = (ClientAuthMode::Required, Reject::Explain);
            let verifier = client_verifier(anchors, mode, reject, Arc::new(Everyone)).unwrap();
            pki.server(Some(verifier), TlsVersion::V1_2)
        };
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let client = Arc::new(pki.connector_for(Some(&partner), &[version]));
            let kind = |server: &Arc<ServerConfig>| {
                let (server, _) = handshake(server, &client, "localhost");
                let server = server.unwrap();
                assert!(server.peer_certificates().is_some());
                server.handshake_kind().unwrap()
            };
            let (one, other) = (policy(), policy());
            assert_ne!(kind(&one), HandshakeKind::Resumed);
            assert_eq!(kind(&one), HandshakeKind::Resumed);
            assert_ne!(kind(&other), HandshakeKind::Resumed);
        }
    }

    #[test]
    fn a_session_brings_its_successor_for_as_long_as_one_comes_back() {
        let pki = Pki::new();
        let partner = pki.client(&client_params(hours(-1, 1)));
        let anchors = pki.authority.anchors();
        let (mode, reject) = (ClientAuthMode::Required, Reject::Explain);
        let verifier = client_verifier(anchors, mode, reject, Arc::new(Everyone)).unwrap();
        let server = pki.server(Some(verifier), TlsVersion::V1_2);
        // A rustls client uses each TLS 1.3 ticket once.
        let client = Arc::new(pki.connector_for(Some(&partner), &[&rustls::version::TLS13]));
        let kinds: Vec<_> = (0..4)
            .map(|_| handshake(&server, &client, "localhost").0.unwrap())
            .map(|server| server.handshake_kind().unwrap())
            .collect();
        assert_eq!(kinds[0], HandshakeKind::Full);
        assert_eq!(kinds[1..], [HandshakeKind::Resumed; 3]);
    }

    #[test]
    fn upstreams_are_trusted_by_the_authority_that_is_named() {
        let (ours, theirs) = (Pki::new(), Pki::new());
        let server = theirs.server(None, TlsVersion::V1_2);
        let connect = |pem: &str, http2| {
            let upstream = UpstreamTls {
                roots: Roots::Pem(pem.to_owned()),
                identity: None,
                http2,
            };
            let client = upstream_config(upstream).unwrap();
            let (server, refused) = handshake(&server, &client, "localhost");
            refused.map_or_else(
                || Ok(server.unwrap().alpn_protocol().unwrap().to_vec()),
                Err,
            )
        };
        assert_eq!(
            connect(theirs.authority.ca_pem(), false).unwrap(),
            b"http/1.1"
        );
        assert_eq!(connect(theirs.authority.ca_pem(), true).unwrap(), b"h2");
        assert!(connect(ours.authority.ca_pem(), true).is_err());
    }

    #[test]
    fn we_show_upstreams_our_certificate_when_we_have_one() {
        let pki = Pki::new();
        let gateway = pki.client(&client_params(hours(-1, 1)));
        let chain = x509::der_to_pem(&gateway.chain[0]);
        let key = crate::crypto::keypair::to_secret(&gateway.key);
        let upstream = |identity| UpstreamTls {
            roots: Roots::Pem(pki.authority.ca_pem().to_owned()),
            identity,
            http2: false,
        };
        let anchors = pki.authority.anchors();
        let (mode, reject) = (ClientAuthMode::Required, Reject::Explain);
        let verifier = client_verifier(anchors, mode, reject, Arc::new(Everyone)).unwrap();
        let server = pki.server(Some(verifier), TlsVersion::V1_2);
        let client = upstream_config(upstream(Some((chain.clone(), key)))).unwrap();
        assert!(handshake(&server, &client, "localhost").0.is_ok());
        let client = upstream_config(upstream(None)).unwrap();
        assert!(handshake(&server, &client, "localhost").0.is_err());
        let other = crate::crypto::jwt::TokenSigner::generate();
        let mixed = upstream_config(upstream(Some((chain, other))));
        assert!(matches!(
            mixed,
            Err(TlsError::Chain(ChainError::OtherKey(_)))
        ));
    }

    #[test]
    fn an_upstream_without_roots_is_refused() {
        for pem in [String::new(), x509::der_to_pem(b"garbage")] {
            let upstream = UpstreamTls {
                roots: Roots::Pem(pem),
                identity: None,
                http2: false,
            };
            assert!(upstream_config(upstream).is_err());
        }
    }

    /// A client that does not trust us leaves; that is not a fault of its certificate.
    #[test]
    fn what_a_client_says_on_leaving_is_about_our_certificate() {
        let (ours, theirs) = (Pki::new(), Pki::new());
        let server = ours.server(None, TlsVersion::V1_2);
        let client = Arc::new(theirs.connector(None));
        let (server, _) = handshake(&server, &client, "localhost");
        assert_eq!(refusal(&server.unwrap_err()), Reason::HandshakeUnfinished);
    }

    #[test]
    fn every_end_of_a_handshake_has_its_reason() {
        use CertificateError as E;
        for (error, reason) in [
            (E::BadEncoding, Reason::CertMalformed),
            (E::Expired, Reason::CertExpired),
            (E::NotValidYet, Reason::CertNotYetValid),
            (E::Revoked, Reason::CertRevoked),
            (E::BadSignature, Reason::CertBadSignature),
            (E::InvalidPurpose, Reason::CertUsage),
            (E::UnknownIssuer, Reason::CertUntrusted),
            (E::ApplicationVerificationFailure, Reason::CertUnregistered),
        ] {
            let error = Error::InvalidCertificate(error);
            assert_eq!(refusal(&error), reason);
            let wrapped = io::Error::new(io::ErrorKind::InvalidData, error);
            assert_eq!(refusal_of_io(&wrapped), reason);
        }
        assert_eq!(
            refusal(&Error::NoCertificatesPresented),
            Reason::CertMissing
        );
        assert_eq!(refusal(&Error::DecryptError), Reason::HandshakeFailed);
        for (kind, reason) in [
            (io::ErrorKind::UnexpectedEof, Reason::HandshakeUnfinished),
            (io::ErrorKind::ConnectionReset, Reason::HandshakeUnfinished),
            (io::ErrorKind::TimedOut, Reason::HandshakeTimeout),
            (io::ErrorKind::InvalidData, Reason::HandshakeFailed),
        ] {
            assert_eq!(refusal_of_io(&kind.into()), reason, "{kind:?}");
        }
    }
}
