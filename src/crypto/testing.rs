//! An authority, partners and handshakes for this room's tests, without a socket or a clock.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection,
};

use super::authority::{Authority, GeneratedAuthority};
use super::provider::provider;
use super::tls::{self, ServerCertificate, ServerCertificates};
use super::{issue, keypair, pem};
use crate::domain::time::{Timestamp, Validity};
use crate::domain::tls_policy::TlsVersion;

/// The time at which the tests take place: the real one, because rustls asks the system.
pub fn now() -> Timestamp {
    Timestamp::from_unix_seconds(rustls::pki_types::UnixTime::now().as_secs().cast_signed())
}

/// A validity from `begin` to `end` hours from now.
pub fn hours(begin: i64, end: i64) -> Validity {
    let at = |hours: i64| Timestamp::from_unix_seconds(now().unix_seconds() + hours * 3600);
    Validity {
        not_before: at(begin),
        not_after: at(end),
    }
}

/// An authority whose issuing key the tests hold, to sign what the product would not.
pub struct Pki {
    pub generated: GeneratedAuthority,
    pub authority: Authority,
}

impl Pki {
    pub fn new() -> Self {
        let begin = now().minus(Duration::from_hours(24 * 365));
        let generated = Authority::generate("Test", begin).unwrap();
        let authority = Authority::load(
            &generated.issuing_cert_pem,
            &generated.issuing_key_pem,
            &generated.root_cert_pem,
            now(),
        )
        .unwrap();
        Self {
            generated,
            authority,
        }
    }

    /// The issuing key's certificate for `params` and a new key.
    pub fn client(&self, params: &CertificateParams) -> Identity {
        self.client_with(params, KeyPair::generate().unwrap())
    }

    pub fn client_with(&self, params: &CertificateParams, key: KeyPair) -> Identity {
        let issuing = keypair::from_secret(&self.generated.issuing_key_pem).unwrap();
        let certificate = pem::certificates(&self.generated.issuing_cert_pem).unwrap();
        let issuer = Issuer::from_ca_cert_der(&certificate[0], issuing).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key,
        }
    }

    /// A server that asks for client certificates by `verifier`.
    pub fn server(
        &self,
        verifier: Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>,
        min: TlsVersion,
    ) -> Arc<ServerConfig> {
        let hosts = ["localhost".to_owned()];
        let (cert_pem, key_pem) = self.authority.issue_server(&hosts, now()).unwrap();
        let shown = ServerCertificates::new(vec![ServerCertificate { cert_pem, key_pem }]).unwrap();
        tls::server_config(Arc::new(shown), verifier, min, true).unwrap()
    }

    /// A client that trusts this authority, and shows `identity`.
    pub fn connector(&self, identity: Option<&Identity>) -> ClientConfig {
        self.connector_for(identity, rustls::DEFAULT_VERSIONS)
    }

    /// The same client, for some versions of TLS only.
    pub fn connector_for(
        &self,
        identity: Option<&Identity>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for anchor in self.authority.anchors() {
            roots.add(anchor).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.shown()))),
        }
    }
}

/// A client certificate and its key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: KeyPair,
}

impl Identity {
    /// The certified key without rustls's checks: these certificates break rules on purpose.
    fn shown(&self) -> CertifiedKey {
        let provider = provider();
        let key = provider.key_provider.load_private_key(self.key_der());
        CertifiedKey::new(self.chain.clone(), key.unwrap())
    }

    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

/// The parameters of an ordinary client certificate.
pub fn client_params(validity: Validity) -> CertificateParams {
    issue::client("partner", Vec::new(), validity).unwrap()
}

/// The handshake's result as the server sees it, and the client's error, if it saw one.
pub fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> (Result<ServerConnection, Error>, Option<Error>) {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut bytes = Vec::new();
    for _ in 0..8 {
        bytes.clear();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            if let Err(error) = server.process_new_packets() {
                let mut alert = Vec::new();
                while server.wants_write() {
                    server.write_tls(&mut alert).unwrap();
                }
                client.read_tls(&mut alert.as_slice()).unwrap();
                return (Err(error), client.process_new_packets().err());
            }
        }
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            if let Err(error) = client.process_new_packets() {
                let mut alert = Vec::new();
                while client.wants_write() {
                    client.write_tls(&mut alert).unwrap();
                }
                server.read_tls(&mut alert.as_slice()).unwrap();
                let seen = server.process_new_packets().map(|_| ());
                return (seen.map(|()| server), Some(error));
            }
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    (Ok(server), None)
}
