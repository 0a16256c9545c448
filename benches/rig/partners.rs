//! An authority with its partners, and the gateway's side of TLS, made in memory by the product's own parts.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::crypto::authority::{Authority, Issued, LeafNames};
use crate::crypto::tls::{self, Roots, ServerCertificate, ServerCertificates, UpstreamTls};
use crate::crypto::verifier::{RegistryView, client_verifier};
use crate::crypto::{csr, issue, keypair};
use crate::domain::app::{App, AppState};
use crate::domain::certificate::{Fingerprint, Profile, SerialNumber};
use crate::domain::credential::CredentialState;
use crate::domain::id::{AppId, CertificateId};
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;
use crate::domain::shelf::Shelf;
use crate::domain::snapshot::CertificateEntry;
use crate::domain::time::{Clock, Timestamp, Validity};
use crate::domain::tls_policy::{ClientAuthMode, Reject, TlsVersion};
use crate::measure::Rng;
use crate::net::tls::{ClientConfig, ServerConfig};
use crate::proxy::connections::peer::Origin;

pub const APP: AppId = AppId::from_bits(7);
pub const CERTIFICATE: CertificateId = CertificateId::from_bits(8);

/// Where all connections come from.
pub const ORIGIN: Origin = Origin {
    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    trusted_hop: false,
};

/// A clock that stands still.
#[derive(Clone, Copy, Debug)]
pub struct At(pub Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// What the handshake asks of the registry only where a policy says `alert`; here it says `explain`, as by default.
#[derive(Debug)]
struct NotAsked;

impl RegistryView for NotAsked {
    fn judge(&self, _: &Fingerprint, _: &Validity) -> Result<(), Reason> {
        Err(Reason::Internal)
    }
}

/// An authority, and a partner that it signed for.
#[derive(Debug)]
pub struct House {
    pub now: Timestamp,
    pub authority: Authority,
    pub partner: Issued,
    key: Secret,
}

impl House {
    pub fn new() -> Self {
        let now = now();
        let made = Authority::generate("Bench", now).unwrap();
        let authority = Authority::load(
            &made.issuing_cert_pem,
            &made.issuing_key_pem,
            &made.root_cert_pem,
            now,
        )
        .unwrap();
        let key = keypair::generate().unwrap();
        let validity = Validity {
            not_before: now,
            not_after: now,
        };
        let mut asked = issue::client("acme", Vec::new(), validity).unwrap();
        asked.serial_number = None;
        asked.use_authority_key_identifier_extension = false;
        let asked = asked.serialize_request(&key).unwrap().pem().unwrap();
        let profile = Profile::default();
        let asked = csr::judge(asked.as_bytes(), &profile.keys).unwrap();
        let names = LeafNames {
            app: APP,
            name: &"acme".parse().unwrap(),
        };
        let month = Duration::from_hours(720);
        let partner = authority.sign(&asked, names, month, &profile, now).unwrap();
        Self {
            now,
            authority,
            partner,
            key: keypair::to_secret(&key),
        }
    }

    /// What the partners' listener speaks TLS by, made anew: it recognises no chain yet, and no ticket.
    pub fn listener(&self) -> Arc<ServerConfig> {
        let names = ["localhost".to_owned()];
        let (cert_pem, key_pem) = self.authority.issue_server(&names, self.now).unwrap();
        let shown = ServerCertificates::new(vec![ServerCertificate { cert_pem, key_pem }]).unwrap();
        let verifier = client_verifier(
            self.authority.anchors(),
            ClientAuthMode::Required,
            Reject::Explain,
            Arc::new(NotAsked),
        );
        let verifier = Some(verifier.unwrap());
        tls::server_config(Arc::new(shown), verifier, TlsVersion::V1_2, true).unwrap()
    }

    /// What the partner speaks TLS by; it keeps tickets.
    pub fn client(&self) -> Arc<ClientConfig> {
        let chain = self.partner.pem.clone() + self.authority.chain_pem();
        tls::upstream_config(UpstreamTls {
            roots: Roots::Pem(self.authority.ca_pem().to_owned()),
            identity: Some((chain, self.key.clone())),
            http2: false,
        })
        .unwrap()
    }

    /// The partner's certificate, registered among `count` others.
    pub fn registered(&self, count: usize) -> Shelf<Fingerprint, CertificateEntry> {
        let leaf = &self.partner.leaf;
        let entry = CertificateEntry {
            id: CERTIFICATE,
            app: APP,
            serial: leaf.serial,
            validity: leaf.validity,
            state: CredentialState::Active,
        };
        let mut rng = Rng(5);
        let others = (0..count).map(move |_| {
            let mut bytes = [0; 32];
            for chunk in bytes.chunks_mut(8) {
                chunk.copy_from_slice(&rng.next().to_be_bytes());
            }
            let serial = SerialNumber::from_bytes(&bytes[..20]).unwrap();
            let other = CertificateEntry { serial, ..entry };
            (Fingerprint::from_bytes(bytes), other)
        });
        Shelf::build(others.chain([(leaf.fingerprint, entry)]))
    }

    pub fn apps(&self) -> Shelf<AppId, Arc<App>> {
        let app = App {
            id: APP,
            name: "acme".parse().unwrap(),
            state: AppState::Active,
            contact: None,
            settings: crate::domain::app_settings::AppSettings::default(),
            boosts: Arc::default(),
            created_at: self.now,
        };
        Shelf::build([(APP, Arc::new(app))])
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "certificates are made for the time of their handshakes"
)]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_unix_millis(i64::try_from(since.as_millis()).unwrap())
}
