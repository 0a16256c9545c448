//! A control plane for tests: SQLite in memory, a clock that the test sets, and a data plane that confirms.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::apps::NewApp;
use super::certificates::{SignRequest, SignedCertificate};
use super::key_ring::TokenKeys;
use super::key_uses::{ASKED_MAX, KeyUses, UsesAsked};
use super::keys::NewKey;
use super::metrics::ControlMetrics;
use super::publish::{Changed, Publication, Publisher};
use super::published_keys::PublishedKeys;
use super::published_keys::testing::OneSource;
use super::service::{Control, Parts};
use crate::crypto::api_key::SecretHasher;
use crate::crypto::authority::Authority;
use crate::crypto::signing_key::SigningTexts;
use crate::domain::admin::Actor;
use crate::domain::api_key::{ApiKey, Environment, KeyKind};
use crate::domain::app::App;
use crate::domain::certificate::Profile;
use crate::domain::credential::Ended;
use crate::domain::issuer::{ForeignIssuer, ForeignIssuers};
use crate::domain::listing::{AuditFilter, Page};
use crate::domain::record::{AuditEvent, Receipt};
use crate::domain::route::RouteTable;
use crate::domain::secret::Secret;
use crate::domain::snapshot::{Catalog, HostPolicies, Snapshot};
use crate::domain::time::{Clock, Timestamp};
use crate::domain::token::{ClientAuthMethod, ClientAuthMethods};
use crate::store::sqlite::backend::SqliteStore;

pub const ACTOR: Actor = Actor::Local { uid: 7 };

/// A plain P-256 request.
pub const CSR: &str = "\
-----BEGIN CERTIFICATE REQUEST-----
MIHOMHYCAQAwFDESMBAGA1UEAwwJcGFydG5lci1hMFkwEwYHKoZIzj0CAQYIKoZI
zj0DAQcDQgAEjtwqdIwoWY3VudTpxdhh6XQx1BOmFP76aERNuCnE3P84bj0RP1iT
0jil6XA5v73Hzuj/9jW9EZM0EK27XQ8+l6AAMAoGCCqGSM49BAMCA0gAMEUCIQCd
SNYUEz1iRJtOdOo4yBqp/Eitgxwgov5Pl8gFcFwspQIgMU+81QhwlWjzHJKAhreR
hdbVywKgHx7RtugroRH8CuE=
-----END CERTIFICATE REQUEST-----
";

/// Another CSR, with a key of its own.
pub const OTHER_CSR: &str = "\
-----BEGIN CERTIFICATE REQUEST-----
MIHOMHYCAQAwFDESMBAGA1UEAwwJcGFydG5lci1iMFkwEwYHKoZIzj0CAQYIKoZI
zj0DAQcDQgAEBfPJR1Su0swebQ0eDec/AjLn/vf8ZHezZwZx+1eOFlS7u4qgvrxC
jWrP+FSHOOqxos2hvMeeziYcaLcyq53gZ6AAMAoGCCqGSM49BAMCA0gAMEUCIGI1
9B5nv5PNqGI5fU8YvqahGKH97197sg3cbEhls3LGAiEAp3HOJ1h4xzah7ZQFoaQx
S/kIw+p5sgMZhMJgM46uaAM=
-----END CERTIFICATE REQUEST-----
";

/// A CSR with a P-521 key, which no profile accepts.
pub const P521_CSR: &str = "\
-----BEGIN CERTIFICATE REQUEST-----
MIIBTjCBsQIBADAMMQowCAYDVQQDDAFjMIGbMBAGByqGSM49AgEGBSuBBAAjA4GG
AAQAsn7iwvzXVAYWiZ65d6C4/vvOGzmJOi/ctP2qbRA0RNwC1iBR+vU61Yej5e6r
VZqCn6Xpl7hKbeaKHQcPRskHAI0AZFMlHKhWhO0hpeS1Pt4cYt1TcMKcaF8Gni2M
Ki0gf14REgPzAaceXUBpNrZAAgMFKKFb2n9fhFHtFGjdREryUEKgADAKBggqhkjO
PQQDAgOBiwAwgYcCQT2+5sUsy3/DcFs4oOD8AhN5h8rDPUtGwFq04XpJgF7rEwBz
QdsIBxsrO9Bv9N5x/m6e5X1eXGwBQVrWNod1L+GTAkIBiy8u0eQyLVZFt6idLg3T
9EivAGFCfuWDHboJK+LKOcbWo/0dx3ODMCqH39yQvCFS0cHRswctfn7KEYjDmXyH
kSI=
-----END CERTIFICATE REQUEST-----
";

#[derive(Debug)]
pub struct HandClock(AtomicI64);

impl HandClock {
    pub fn at(seconds: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(seconds * 1000)))
    }

    pub fn advance(&self, span: Duration) {
        let millis = i64::try_from(span.as_millis()).unwrap();
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The publications that the data plane got, in order.
pub type Told = Arc<Mutex<Vec<(Arc<Snapshot>, Vec<Ended>)>>>;

pub struct Fixture {
    pub control: Control,
    pub clock: Arc<HandClock>,
    pub store: Arc<SqliteStore>,
    pub hasher: Arc<SecretHasher>,
    pub told: Told,
    /// The source of every JWK set that an App publishes.
    pub source: Arc<OneSource>,
    pub registry: prometheus::Registry,
    /// The questions for the uses of keys, which nobody answers unless a test takes them.
    pub uses: Option<mpsc::Receiver<UsesAsked>>,
    /// The directory of the token keys' files.
    _place: tempfile::TempDir,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with_store(Arc::new(SqliteStore::in_memory().unwrap())).await
    }

    pub async fn with_outlet(outlet: mpsc::Sender<Publication>, told: Told) -> Self {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        Self::with(store, outlet, told).await
    }

    pub async fn with_store(store: Arc<SqliteStore>) -> Self {
        let (outlet, publications) = mpsc::channel(8);
        let told = confirm_all(publications);
        Self::with(store, outlet, told).await
    }

    pub async fn with(
        store: Arc<SqliteStore>,
        outlet: mpsc::Sender<Publication>,
        told: Told,
    ) -> Self {
        let clock = HandClock::at(1_800_000_000);
        let registry = prometheus::Registry::new();
        let metrics = ControlMetrics::register(&registry).unwrap();
        let (publisher, _) = Publisher::start(
            store.clone(),
            catalog(1),
            Arc::new([]),
            outlet,
            metrics.clone(),
        )
        .await
        .unwrap();
        let place = tempfile::tempdir().unwrap();
        let hour = Duration::from_hours(1);
        let token_keys = TokenKeys::open(&place.path().join("token.pem"), hour, clock.now());
        let token_keys = token_keys.unwrap();
        let made = Authority::generate("Test", clock.now()).unwrap();
        let (cert, key) = (&made.issuing_cert_pem, &made.issuing_key_pem);
        let authority = Authority::load(cert, key, &made.root_cert_pem, clock.now()).unwrap();
        let hasher = Arc::new(SecretHasher::new(Some(Secret::new("pepper".to_owned()))));
        let source = OneSource::of(Err("nothing is published"));
        let (asked, uses) = mpsc::channel(ASKED_MAX);
        let control = Control::new(Parts {
            store: store.clone(),
            sessions: store.clone(),
            tickets: store.clone(),
            published: Arc::new(PublishedKeys::new(source.clone())),
            publisher,
            authority: Arc::new(authority),
            hasher: hasher.clone(),
            signing_texts: Some(signing_texts()),
            profile: Profile::default(),
            clock: clock.clone(),
            metrics,
            token_keys: token_keys.value,
            key_uses: KeyUses::new(asked),
        });
        Self {
            control,
            clock,
            store,
            uses: Some(uses),
            hasher,
            told,
            source,
            registry,
            _place: place,
        }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.control.publisher().current()
    }

    pub async fn app(&self, name: &str) -> App {
        let new = NewApp {
            name: name.parse().unwrap(),
            contact: None,
        };
        self.control.create_app(&ACTOR, new).await.unwrap()
    }

    pub async fn key(&self, app: &str, scopes: &str) -> (ApiKey, Secret) {
        let created = self.control.create_key(&ACTOR, new_key(app, scopes)).await;
        created.unwrap().value
    }

    pub async fn sign(
        &self,
        app: &str,
        name: &str,
        csr: &str,
    ) -> Result<Changed<SignedCertificate>, super::error::Error> {
        let request = SignRequest {
            app: app.to_owned(),
            name: name.parse().unwrap(),
            csr: csr.into(),
            lifetime: None,
        };
        self.control.sign_certificate(&ACTOR, request).await
    }

    /// The last publication that the data plane got.
    pub fn last_told(&self) -> (Arc<Snapshot>, Vec<Ended>) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.last().cloned().unwrap()
    }

    /// The newest line of the audit trail.
    pub async fn last_event(&self) -> AuditEvent {
        let page = Page::first(1);
        let events = self.control.audit(AuditFilter::default(), page).await;
        events.unwrap().remove(0)
    }
}

/// The texts of signing keys, under a sealing key of tests.
pub fn signing_texts() -> Arc<SigningTexts> {
    let texts = SigningTexts::new(&Secret::new("a sealing key of tests".to_owned()));
    Arc::new(texts.unwrap())
}

pub fn new_key(app: &str, scopes: &str) -> NewKey {
    NewKey {
        app: app.to_owned(),
        name: "server".parse().unwrap(),
        kind: KeyKind::Secret,
        environment: Environment::Live,
        scopes: scopes.parse().unwrap(),
        networks: Vec::new(),
        origins: Vec::new(),
        limits: Vec::new(),
        expires_in: None,
    }
}

pub fn catalog(generation: u64) -> Arc<Catalog> {
    let idp = Arc::new(ForeignIssuer::sample("idp", "acme"));
    catalog_of(generation, ForeignIssuers::new(vec![idp]))
}

pub fn catalog_of(generation: u64, issuers: ForeignIssuers) -> Arc<Catalog> {
    Arc::new(Catalog {
        generation,
        routes: RouteTable::default(),
        upstreams: foldhash::HashMap::default(),
        tls_policies: HostPolicies::default(),
        issuer: "https://gateway.test".into(),
        client_auth: ClientAuthMethods::new(&ClientAuthMethod::ALL),
        legacy_limit_fields: false,
        profile: crate::domain::token_profile::TokenProfile::default(),
        issuers,
    })
}

/// A data plane of two workers that takes every snapshot and closes one connection for each thing that ended.
pub fn confirm_all(mut publications: mpsc::Receiver<Publication>) -> Told {
    let told = Told::default();
    let kept = Arc::clone(&told);
    TaskTracker::new().spawn(async move {
        while let Some(publication) = publications.recv().await {
            let receipt = Receipt {
                version: publication.snapshot.version,
                confirmed: true,
                workers: 2,
                workers_total: 2,
                connections_closed: u32::try_from(publication.ended.len()).unwrap(),
            };
            let mut told = kept.lock().unwrap_or_else(PoisonError::into_inner);
            told.push((publication.snapshot, publication.ended));
            drop(told);
            let _ = publication.receipt.send(receipt);
        }
    });
    told
}
