//! The client's side of TLS: TLS 1.3, AES-128-GCM and X25519 only, so that every proxy does the same cryptography.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::options::{Mode, Options};

type Failure = Box<dyn std::error::Error>;

/// One configuration for all connections, or in `hsr` one per connection: a ticket store is part of the configuration,
/// and a shared one would let connections take each other's tickets.
pub fn configs(options: &Options) -> Result<Vec<Arc<ClientConfig>>, Failure> {
    let provider = provider();
    let verifier = Arc::new(AcceptAny(provider.signature_verification_algorithms));
    let (chain, key) = identity(options)?;
    let count = if options.mode == Mode::Resume {
        options.connections
    } else {
        1
    };
    (0..count)
        .map(|_| {
            let mut config = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[&rustls::version::TLS13])?
                .dangerous()
                .with_custom_certificate_verifier(verifier.clone())
                .with_client_auth_cert(chain.clone(), key.clone_key())?;
            config.alpn_protocols = vec![if options.mode.is_h2() {
                b"h2".to_vec()
            } else {
                b"http/1.1".to_vec()
            }];
            config.resumption = match options.mode {
                Mode::Resume => Resumption::in_memory_sessions(16),
                _ => Resumption::disabled(),
            };
            Ok(Arc::new(config))
        })
        .collect()
}

/// The configuration of `check`, which does verify the server.
pub fn verifying_config(options: &Options, ca: &Path) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let provider = provider();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let (chain, key) = identity(options)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

pub fn server_name(host: &str) -> Result<ServerName<'static>, Failure> {
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    Ok(ServerName::try_from(name.to_owned())?)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    })
}

fn identity(
    options: &Options,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
    let read =
        |path: &Path, problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let chain = CertificateDer::pem_file_iter(&options.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|problem| read(&options.cert, &problem))?;
    let key = PrivateKeyDer::from_pem_file(&options.key)
        .map_err(|problem| read(&options.key, &problem))?;
    Ok((chain, key))
}

/// Accepts every server. Verification would be the client's work on the client's core: it says nothing about the proxy,
/// and in the handshake scenarios it would make the generator the bottleneck. `check` verifies once, before measuring.
#[derive(Debug)]
struct AcceptAny(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
