//! The room as a whole: real workers, real TLS over loopback, a small upstream, and a partner.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::credentials::signatures::Shared;
use super::generations::{Generation, Generations};
use super::intake::handshake::TlsPolicies;
use super::local::{Answering, LocalService};
use super::plane::{Proxy, Wiring};
use super::report::ledger::testing::{self, Written};
use super::settings::Settings;
use super::upstream::connectors::ConnectorMap;
use crate::crypto::access_token::AccessTokens;
use crate::crypto::api_key::{SecretHasher, generate_key};
use crate::crypto::assertion::AssertionSigner;
use crate::crypto::authority::{Authority, LeafNames};
use crate::crypto::certificate_details::Issuers;
use crate::crypto::dpop::proofs::Proofs;
use crate::crypto::jwt::TokenSigner;
use crate::crypto::tls::{self, Roots, ServerCertificate, ServerCertificates, UpstreamTls};
use crate::crypto::verifier::{RegistryView, client_verifier};
use crate::crypto::{csr, issue, keypair};
use crate::domain::api_key::{Environment, KeyKind};
use crate::domain::app::App;
use crate::domain::certificate::{Fingerprint, Profile};
use crate::domain::credential::{CredentialId, CredentialState, Ended};
use crate::domain::id::{AppId, CertificateId, KeyId};
use crate::domain::limit::{Limit, Per};
use crate::domain::local::{LocalEndpoint, READ, SMALL_BODY};
use crate::domain::local_call::LocalCall;
use crate::domain::policy::{Policy, Requirement};
use crate::domain::rate::Rate;
use crate::domain::reason::Reason;
use crate::domain::record::AccessRecord;
use crate::domain::route::{HostPattern, PathPattern, Route, RouteTable, Target};
use crate::domain::secret::Secret;
use crate::domain::shelf::Shelf;
use crate::domain::snapshot::{Catalog, CertificateEntry, HostPolicies, KeyEntry, Snapshot};
use crate::domain::tcp::Tcp;
use crate::domain::time::{Clock, Timestamp, Validity};
use crate::domain::tls_policy::{ClientAuthMode, Reject, TlsPolicy, TlsVersion};
use crate::domain::upstream::{AnswerBounds, Endpoint, PoolBounds, Protocol, Timeouts, Upstream};
use crate::net::http::{TokioIo, http2_client};
use crate::net::listener;
use crate::net::tcp::TcpOptions;
use crate::net::tls::ClientStream;

const APP: AppId = AppId::from_bits(1);
const CERTIFICATE: CertificateId = CertificateId::from_bits(2);
const KEY: KeyId = KeyId::from_bits(3);

/// The real time, because rustls asks the system.
#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's handshakes take place now"
    )]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        Timestamp::from_unix_millis(i64::try_from(since.as_millis()).unwrap())
    }
}

#[derive(Debug)]
struct NoRegistry;

impl RegistryView for NoRegistry {
    fn judge(&self, _: &Fingerprint, _: &Validity) -> Result<(), Reason> {
        Ok(())
    }
}

/// A local endpoint that answers with its name, and whether the certificate is valid.
#[derive(Debug)]
struct Echo;

impl LocalService for Echo {
    fn call(&self, call: LocalCall) -> Answering {
        let path = call.request.uri().path();
        assert!(!path.ends_with("/panic"), "asked to");
        if path.ends_with("/hang") {
            return Box::pin(std::future::pending());
        }
        let counts = call.caller.certificate.proved().is_some();
        let text = format!("{} {counts}", call.endpoint.name);
        Box::pin(async { Ok(Response::new(Bytes::from(text)).into()) })
    }
}

static WHOAMI: LocalEndpoint = LocalEndpoint {
    name: "countersign.whoami",
    path: "/.well-known/countersign/whoami",
    methods: &READ,
    requirement: Requirement::None,
    limits: &[],
    body_max: SMALL_BODY,
    open_to_quarantined: true,
    checks_secrets: false,
    of_tokens: false,
};

struct Gateway {
    proxy: Proxy,
    snapshot: Snapshot,
    records: Written,
    address: std::net::SocketAddr,
    ca_pem: String,
    /// The partner's certificate chain and key.
    identity: (String, Secret),
    fingerprint: Fingerprint,
    secret: Secret,
    registry: prometheus::Registry,
}

fn route(name: &str, path: &str, requirement: Requirement) -> Route {
    Route {
        name: name.into(),
        host: HostPattern::Any,
        path: PathPattern::prefix(path).unwrap(),
        methods: Vec::new(),
        policy: Policy::new(requirement, "".parse().unwrap()),
        limits: Vec::new(),
        target: Target::Upstream("echo".parse().unwrap()),
        body_max: Some(1000),
        body_times: crate::domain::pace::BodyTimes::default(),
        ambiguous_paths: crate::domain::oddity::Oddities::NONE,
        keep_credential: false,
        identity_headers: Arc::default(),
        upgrades: crate::domain::upgrades::Upgrades::default(),
        header_names: crate::domain::header_names::HeaderNames::default(),
    }
}

fn routes() -> Vec<Route> {
    let mut limited = route("limited", "/limited", Requirement::None);
    limited.limits = vec![Arc::new(Limit::new(
        "two".parse().unwrap(),
        Per::Address,
        Rate {
            count: 1,
            period: Duration::from_hours(1),
            burst: 2,
        },
    ))];
    let mut scoped = route("scoped", "/scoped", Requirement::Key);
    scoped.policy.scopes = "orders:write".parse().unwrap();
    let mut socket = route("socket", "/socket", Requirement::Mtls);
    socket.upgrades = ["websocket".parse().unwrap()].into_iter().collect();
    let mut whoami = route("whoami", WHOAMI.path, Requirement::None);
    whoami.target = Target::Local(&WHOAMI);
    vec![
        route("open", "/open", Requirement::None),
        route("mtls", "/mtls", Requirement::Mtls),
        route("key", "/key", Requirement::Key),
        limited,
        scoped,
        socket,
        whoami,
    ]
}

impl Gateway {
    async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    async fn start_with(settings: Settings) -> Self {
        Self::start_for(settings, Duration::from_hours(24)).await
    }

    /// With a certificate that is valid for so long.
    async fn start_for(settings: Settings, validity_of_certificate: Duration) -> Self {
        let now = SystemClock.now();
        let generated = Authority::generate("Test", now).unwrap();
        let authority = Authority::load(
            &generated.issuing_cert_pem,
            &generated.issuing_key_pem,
            &generated.root_cert_pem,
            now,
        )
        .unwrap();
        let (cert_pem, key_pem) = authority
            .issue_server(&["localhost".to_owned()], now)
            .unwrap();
        let shown = ServerCertificates::new(vec![ServerCertificate { cert_pem, key_pem }]).unwrap();
        let verifier = client_verifier(
            authority.anchors(),
            ClientAuthMode::Optional,
            Reject::Explain,
            Arc::new(NoRegistry),
        );
        let config = tls::server_config(
            Arc::new(shown),
            Some(verifier.unwrap()),
            TlsVersion::V1_2,
            true,
        );
        let policies = TlsPolicies::new(
            1,
            HashMap::from([(TlsPolicy::default(), config.unwrap())]),
            HostPolicies::default(),
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
        let issued = authority
            .sign(&asked, names, validity_of_certificate, &profile, now)
            .unwrap();

        let hasher = Arc::new(SecretHasher::new(None));
        let secret = generate_key(KEY, KeyKind::Secret, Environment::Live);
        let upstream = upstream().await;
        let entry = CertificateEntry {
            id: CERTIFICATE,
            app: APP,
            serial: issued.leaf.serial,
            validity: issued.leaf.validity,
            state: CredentialState::Active,
        };
        let app = App {
            id: APP,
            ..App::sample(1, "acme")
        };
        let key_entry = KeyEntry {
            digest: hasher.digest(secret.expose()),
            scopes: "orders:read".parse().unwrap(),
            ..KeyEntry::sample(APP)
        };
        let required = TlsPolicy::new(ClientAuthMode::Required, Reject::Explain, TlsVersion::V1_2);
        let snapshot = Snapshot {
            version: 1,
            revision: 1,
            catalog: Arc::new(Catalog {
                generation: 1,
                routes: RouteTable::new(routes()).unwrap(),
                upstreams: std::iter::once((upstream.name.clone(), Arc::new(upstream))).collect(),
                tls_policies: HostPolicies {
                    general: TlsPolicy::default(),
                    by_host: std::iter::once(("other.example.com".to_owned(), required)).collect(),
                },
                issuer: "https://localhost".into(),
                client_auth: crate::domain::token::ClientAuthMethods::default(),
                legacy_limit_fields: false,
                profile: crate::domain::token_profile::TokenProfile::default(),
                issuers: crate::domain::issuer::ForeignIssuers::default(),
            }),
            apps: Shelf::build([(APP, Arc::new(app))]),
            certificates: Shelf::build([(issued.leaf.fingerprint, entry)]),
            keys: Shelf::build([(KEY, key_entry)]),
            key_index: crate::domain::key_index::KeyIndex::default(),
            verification_keys: Arc::new([]),
            published: Arc::default(),
            token_ends: Shelf::default(),
        };
        let first = listener::bind(
            "127.0.0.1:0".parse().unwrap(),
            64,
            true,
            &TcpOptions::default(),
        )
        .unwrap();
        let address = first.local_addr().unwrap();
        let second = listener::bind(address, 64, true, &TcpOptions::default()).unwrap();
        let (ledger, records) = testing::ledger(2);
        let registry = prometheus::Registry::new();
        let proxy = Proxy::start(
            settings,
            Wiring {
                live: Arc::new(ArcSwap::from_pointee(snapshot.clone())),
                generations: Arc::new(ArcSwap::from_pointee(Generations::new(Generation {
                    policies,
                    connectors: ConnectorMap::default(),
                    issuers: Issuers::new(authority.issuers()),
                }))),
                listeners: vec![first, second],
                local: Arc::new(Echo),
                hasher,
                proofs: Proofs::sample(),
                signatures: Shared::none(),
                access_tokens: AccessTokens::sample(),
                missing_keys: tokio::sync::mpsc::channel(1).0,
                assertions: AssertionSigner::new(Arc::new(ArcSwap::from_pointee(
                    TokenSigner::load(&TokenSigner::generate()).unwrap(),
                ))),
                clock: Arc::new(SystemClock),
                ledger,
                quotas: Vec::new(),
                registry: &registry,
            },
        )
        .unwrap();
        Self {
            proxy,
            snapshot,
            records,
            address,
            ca_pem: authority.ca_pem().to_owned(),
            identity: (issued.pem + authority.chain_pem(), keypair::to_secret(&key)),
            fingerprint: issued.leaf.fingerprint,
            secret,
            registry,
        }
    }

    /// The metrics as they are scraped.
    fn exported(&self) -> String {
        prometheus::TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap()
    }

    async fn connect(&self, with_certificate: bool) -> Partner {
        Partner(self.handshake(with_certificate, false).await)
    }

    async fn handshake(&self, with_certificate: bool, http2: bool) -> ClientStream<TcpStream> {
        let config = tls::upstream_config(UpstreamTls {
            roots: Roots::Pem(self.ca_pem.clone()),
            identity: with_certificate.then(|| self.identity.clone()),
            http2,
        })
        .unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let stream = crate::net::tls::connect(stream, config, "localhost").await;
        stream.unwrap()
    }

    /// Revokes the certificate, and closes the connections that use it.
    async fn revoke(&self) -> crate::domain::record::Receipt {
        let mut snapshot = self.snapshot.clone();
        snapshot.version += 1;
        let mut entry = *snapshot.certificates.get(&self.fingerprint).unwrap();
        entry.state = CredentialState::Revoked;
        snapshot.certificates = snapshot.certificates.with(self.fingerprint, entry);
        let ended = [Ended::Credential(CredentialId::Certificate(CERTIFICATE))];
        self.proxy.publish(Arc::new(snapshot), &ended).await
    }

    /// Waits until `count` records are there.
    async fn records(&self, count: usize) -> Vec<AccessRecord> {
        let mut records = Vec::new();
        for _ in 0..500 {
            records.append(&mut self.records.lock().unwrap());
            if records.len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(records.len(), count, "{records:?}");
        records
    }

    async fn stop(self) {
        self.proxy.drain(Duration::ZERO);
        let joined = tokio::task::spawn_blocking(|| self.proxy.join());
        timeout(Duration::from_secs(5), joined)
            .await
            .unwrap()
            .unwrap();
    }
}

/// An upstream that answers with the request's head, and echoes through tunnels.
async fn upstream() -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = TaskTracker::new();
    tasks.clone().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tasks.spawn(echo(stream));
        }
    });
    Upstream {
        name: "echo".parse().unwrap(),
        endpoints: vec![Endpoint {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port,
        }],
        protocol: Protocol::Http1,
        timeouts: Timeouts::default(),
        pool: PoolBounds::default(),
        http: AnswerBounds::default(),
        tcp: Tcp::default(),
        server_name: None,
        tls_generation: 0,
    }
}

async fn echo(mut stream: TcpStream) {
    while let Ok(head) = read_head(&mut stream).await {
        if head.to_lowercase().contains("upgrade: ") {
            let agreed = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(agreed.as_bytes()).await.unwrap();
            let (mut read, mut write) = stream.split();
            // The partner may cut the tunnel at any time.
            let _over = tokio::io::copy(&mut read, &mut write).await;
            return;
        }
        if head.contains("/slow") {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}",
            head.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).unwrap())
}

struct Partner(ClientStream<TcpStream>);

struct Answered {
    status: StatusCode,
    head: String,
    body: String,
}

impl Partner {
    async fn get(&mut self, path: &str, fields: &str) -> Answered {
        self.send(path, fields).await;
        self.receive().await.unwrap()
    }

    async fn send(&mut self, path: &str, fields: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn receive(&mut self) -> std::io::Result<Answered> {
        let head = timeout(Duration::from_secs(5), read_head(&mut self.0))
            .await
            .unwrap()?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let lower = head.to_lowercase();
        let length = lower
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next())
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(Answered {
            status,
            head: lower,
            body: String::from_utf8(body).unwrap(),
        })
    }

    /// Waits until the other side has closed, after any last bytes.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A cut connection ends without TLS's close_notify, which is an error and an end.
        let _end = timeout(Duration::from_secs(5), self.0.read_to_end(&mut rest))
            .await
            .expect("the connection is closed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_reaches_the_upstream_under_its_own_name_and_no_other() {
    let gateway = Gateway::start().await;
    let mut partner = gateway.connect(true).await;
    let forged = "X-Countersign-App-Id: app_forged\r\nX-Forwarded-For: 1.2.3.4\r\n\
                  Authorization: Bearer mine\r\nX-Real-Ip: 1.2.3.4\r\nAccept: a/b\r\n";
    let answered = partner.get("/mtls/orders?a=1", forged).await;
    assert_eq!(answered.status, 200);
    let seen = answered.body.to_lowercase();
    assert!(
        seen.starts_with("get /mtls/orders?a=1 http/1.1\r\n"),
        "{seen}"
    );
    for expected in [
        format!("x-countersign-app-id: {APP}\r\n"),
        "x-countersign-app-name: acme\r\n".to_owned(),
        "x-countersign-auth-method: mtls\r\n".to_owned(),
        format!("x-countersign-credential-id: {CERTIFICATE}\r\n"),
        format!(
            "x-countersign-client-cert-sha256: {}\r\n",
            gateway.fingerprint
        ),
        "x-forwarded-for: 127.0.0.1\r\n".to_owned(),
        "x-forwarded-proto: https\r\n".to_owned(),
        "x-request-id: req_".to_owned(),
        "traceparent: 00-".to_owned(),
        "accept: a/b\r\n".to_owned(),
        // For the API: the route looks at the certificate alone.
        "authorization: bearer mine\r\n".to_owned(),
    ] {
        assert_eq!(seen.matches(&expected).count(), 1, "{expected} in {seen}");
    }
    for forbidden in ["app_forged", "1.2.3.4", "x-real-ip"] {
        assert!(!seen.contains(forbidden), "{forbidden} in {seen}");
    }
    assert!(answered.head.contains("x-request-id: req_"));
    let records = gateway.records(1).await;
    assert_eq!(records[0].app, Some(APP));
    assert_eq!((records[0].status, records[0].reason), (200, None));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_says_why_and_leaves_one_record() {
    let gateway = Gateway::start().await;
    let mut partner = gateway.connect(false).await;
    let good = gateway.secret.expose().to_owned();
    let mut wrong = generate_key(KEY, KeyKind::Secret, Environment::Live)
        .expose()
        .to_owned();
    let unknown = generate_key(KeyId::from_bits(9), KeyKind::Secret, Environment::Live);
    wrong.insert_str(0, "Authorization: Bearer ");
    wrong.push_str("\r\n");
    let cases: Vec<(&str, String, u16, Reason)> = vec![
        ("/nowhere", String::new(), 404, Reason::RouteUnknown),
        ("/open//x", String::new(), 400, Reason::PathInvalid),
        ("/open/%2e%2e/x", String::new(), 400, Reason::PathInvalid),
        ("/mtls", String::new(), 401, Reason::CertMissing),
        ("/key", String::new(), 401, Reason::CredentialMissing),
        ("/key", wrong, 401, Reason::KeyWrong),
        (
            "/key",
            format!("X-Api-Key: {}\r\n", unknown.expose()),
            401,
            Reason::KeyUnknown,
        ),
        (
            "/scoped",
            format!("X-Api-Key: {good}\r\n"),
            403,
            Reason::ScopeMissing,
        ),
        (
            "/open",
            "Transfer_Encoding: x\r\n".to_owned(),
            400,
            Reason::HeaderInvalid,
        ),
        (
            "/open",
            "Host: twice\r\n".to_owned(),
            400,
            Reason::HeaderInvalid,
        ),
        (
            "/open",
            "Connection: upgrade\r\nUpgrade: websocket\r\n".to_owned(),
            400,
            Reason::UpgradeRefused,
        ),
        (
            "/open",
            "Content-Length: 1001\r\n".to_owned(),
            413,
            Reason::BodyTooLarge,
        ),
    ];
    let count = cases.len();
    for (path, fields, status, reason) in cases {
        let mut partner = gateway.connect(false).await;
        let answered = partner.get(path, &fields).await;
        assert_eq!(answered.status.as_u16(), status, "{path} {reason}");
        let expected = format!("\"reason\":\"{}\"", reason.shown());
        assert!(
            answered.body.contains(&expected),
            "{path}: {}",
            answered.body
        );
        assert!(answered.head.contains("application/problem+json"));
    }
    let answered = partner
        .get("/key", &format!("Authorization: Bearer {good}\r\n"))
        .await;
    assert_eq!(
        answered.status, 200,
        "an honest caller is served after all of them"
    );
    assert!(!answered.body.contains(&good));
    assert_eq!(partner.get("/open", "").await.status, 200);
    let records = gateway.records(count + 2).await;
    assert_eq!(
        records
            .iter()
            .filter(|record| record.reason.is_none())
            .count(),
        2
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_another_tls_policy_is_not_served() {
    let gateway = Gateway::start().await;
    let mut partner = gateway.connect(false).await;
    let other = b"GET /open HTTP/1.1\r\nHost: other.example.com\r\n\r\n";
    partner.0.write_all(other).await.unwrap();
    assert_eq!(partner.receive().await.unwrap().status, 403);
    partner.0.write_all(other).await.unwrap();
    assert_eq!(partner.receive().await.unwrap().status, 421);
    assert_eq!(partner.get("/open", "").await.status, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_closes_what_is_open_and_explains_itself_afterwards() {
    let gateway = Gateway::start().await;
    let mut idle = gateway.connect(true).await;
    assert_eq!(idle.get("/mtls", "").await.status, 200);
    let mut busy = gateway.connect(true).await;
    busy.send("/mtls/slow", "").await;
    let mut stranger = gateway.connect(false).await;
    assert_eq!(stranger.get("/open", "").await.status, 200);
    tokio::time::sleep(Duration::from_millis(100)).await;

    let receipt = gateway.revoke().await;
    assert_eq!((receipt.version, receipt.workers), (2, 2));
    assert!(receipt.confirmed);
    assert_eq!(receipt.connections_closed, 2);
    idle.closed().await;
    assert_eq!(
        busy.receive().await.unwrap().status,
        200,
        "what ran may finish"
    );
    busy.closed().await;
    assert_eq!(stranger.get("/open", "").await.status, 200);

    let mut quarantined = gateway.connect(true).await;
    for path in ["/mtls", "/open", "/nowhere"] {
        let answered = quarantined.get(path, "").await;
        assert_eq!(answered.status, 403, "{path}");
        for seen in [
            "\"cert_revoked\"",
            "\"serial\"",
            "\"not_after\"",
            "\"now\"",
            "\"reject_id\"",
        ] {
            assert!(answered.body.contains(seen), "{seen} in {}", answered.body);
        }
    }
    let answered = quarantined.get(WHOAMI.path, "").await;
    assert_eq!(answered.body, "countersign.whoami false");
    for _ in 0..12 {
        assert_eq!(quarantined.get("/mtls", "").await.status, 403);
    }
    quarantined.closed().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_limit_is_told_and_allowed_requests_know_how_they_stand() {
    let gateway = Gateway::start().await;
    let mut partner = gateway.connect(false).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let answered = partner.get("/limited", "").await;
        let line = answered
            .head
            .lines()
            .find(|line| line.starts_with("ratelimit: "));
        seen.push((answered.status.as_u16(), line.unwrap().to_owned()));
        if answered.status == 429 {
            assert!(answered.head.contains("retry-after: "));
            assert!(
                answered
                    .head
                    .contains("ratelimit-policy: \"two\";q=1;w=3600")
            );
            assert!(answered.body.contains("\"limit\":\"two\""));
        }
    }
    assert_eq!(
        seen.iter().map(|(status, _)| *status).collect::<Vec<_>>(),
        [200, 200, 429]
    );
    assert!(seen[0].1.starts_with("ratelimit: \"two\";r=1;"), "{seen:?}");
    assert!(seen[2].1.starts_with("ratelimit: \"two\";r=0;"), "{seen:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_keys_is_slowed_down_and_does_not_lock_out_tokens_of_others() {
    let gateway = Gateway::start().await;
    let mut partner = gateway.connect(false).await;
    let mut statuses = Vec::new();
    for _ in 0..35 {
        let guess = generate_key(KEY, KeyKind::Secret, Environment::Live);
        let fields = format!("X-Api-Key: {}\r\n", guess.expose());
        statuses.push(partner.get("/key", &fields).await.status.as_u16());
    }
    assert_eq!(statuses[..30], [401; 30]);
    assert_eq!(statuses[32..], [429; 3]);
    assert_eq!(partner.get("/open", "").await.status, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_carries_both_ways_and_ends_with_its_certificate() {
    let gateway = Gateway::start().await;
    let mut partner = gateway.connect(true).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    partner.send("/socket", upgrade).await;
    let head = read_head(&mut partner.0).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    partner.0.write_all(b"ping").await.unwrap();
    let mut echoed = [0; 4];
    partner.0.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"ping");
    assert_eq!(gateway.revoke().await.connections_closed, 1);
    partner.closed().await;
    let records = gateway.records(1).await;
    assert_eq!(
        (records[0].status, records[0].reason),
        (101, Some(Reason::CredentialInvalid))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_ends_when_the_proof_that_opened_it_expires() {
    let gateway = Gateway::start_for(Settings::default(), Duration::from_secs(3)).await;
    let mut partner = gateway.connect(true).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    partner.send("/socket", upgrade).await;
    let head = read_head(&mut partner.0).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    partner.closed().await;
    let records = gateway.records(1).await;
    assert_eq!(records[0].reason, Some(Reason::CertExpired));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_finishes_what_runs_and_takes_nothing_new() {
    let gateway = Gateway::start().await;
    let mut idle = gateway.connect(false).await;
    assert_eq!(idle.get("/open", "").await.status, 200);
    let mut busy = gateway.connect(false).await;
    busy.send("/open/slow", "").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    gateway.proxy.drain(Duration::from_secs(5));
    idle.closed().await;
    assert_eq!(busy.receive().await.unwrap().status, 200);
    busy.closed().await;
    let address = gateway.address;
    gateway.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stays_silent_is_not_waited_for() {
    let mut settings = Settings::default();
    settings.timeouts.handshake = Duration::from_millis(500);
    settings.timeouts.first_request = Duration::from_millis(200);
    settings.timeouts.idle = Duration::from_millis(300);
    let gateway = Gateway::start_with(settings).await;
    let mut no_tls = TcpStream::connect(gateway.address).await.unwrap();
    let mut no_request = gateway.connect(false).await;
    let mut half_a_request = gateway.connect(false).await;
    half_a_request
        .0
        .write_all(b"GET /open HTTP/1.1\r\nHo")
        .await
        .unwrap();
    let mut no_second = gateway.connect(false).await;
    assert_eq!(no_second.get("/open", "").await.status, 200);
    assert_eq!(
        timeout(Duration::from_secs(5), no_tls.read(&mut [0; 64]))
            .await
            .unwrap()
            .unwrap_or(0),
        0
    );
    no_request.closed().await;
    half_a_request.closed().await;
    no_second.closed().await;
    assert_eq!(
        gateway.connect(false).await.get("/open", "").await.status,
        200
    );
    gateway.stop().await;
}

/// The last message of the handshake is kept for the first answer, and a client without a request waits for neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_ticket_comes_with_the_first_answer_or_without_one() {
    let gateway = Gateway::start().await;
    for http2 in [false, true] {
        let mut silent = gateway.handshake(true, http2).await;
        let mut byte = [0; 1];
        for _ in 0..500 {
            if silent.inner().get_ref().1.tls13_tickets_received() > 0 {
                break;
            }
            let _nothing = timeout(Duration::from_millis(10), silent.read(&mut byte)).await;
        }
        assert_eq!(
            silent.inner().get_ref().1.tls13_tickets_received(),
            1,
            "h2 {http2}"
        );
    }
    let mut asks = gateway.connect(true).await;
    asks.get("/open", "").await;
    assert_eq!(asks.0.inner().get_ref().1.tls13_tickets_received(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_has_begun_is_hurried_and_a_quiet_client_is_not() {
    let mut settings = Settings::default();
    settings.timeouts.header = Duration::from_millis(300);
    let gateway = Gateway::start_with(settings).await;
    let mut quiet = gateway.connect(false).await;
    assert_eq!(quiet.get("/open", "").await.status, 200);
    for served_before in [false, true] {
        let mut slow = gateway.connect(false).await;
        if served_before {
            assert_eq!(slow.get("/open", "").await.status, 200);
        }
        let began = tokio::time::Instant::now();
        let dribble = async {
            for byte in b"GET /open HTTP/1.1\r\nHost: localhost\r\n".iter().cycle() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if slow.0.write_all(&[*byte]).await.is_err() || slow.0.flush().await.is_err() {
                    break;
                }
            }
        };
        timeout(Duration::from_secs(3), dribble)
            .await
            .expect("cut, however steadily bytes come");
        assert!(began.elapsed() >= Duration::from_millis(300));
    }
    assert_eq!(quiet.get("/open", "").await.status, 200);
    assert!(
        gateway
            .exported()
            .contains("countersign_refusals_total{reason=\"request_timeout\"} 2\n")
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_beyond_a_bound_is_refused_with_a_reason() {
    let gateway = Gateway::start().await;
    let many = |count| {
        (0..count).fold(String::new(), |fields, number| {
            fields + &format!("X-N{number}: 1\r\n")
        })
    };
    let long = |bytes| "x".repeat(bytes);
    let path = format!("/open/{}", long(9 << 10));
    for (path, fields, status, reason) in [
        ("/open", many(110), 431, Reason::HeadersTooLarge),
        (
            "/open",
            format!("X-Long: {}\r\n", long(33 << 10)),
            431,
            Reason::HeadersTooLarge,
        ),
        (&path, String::new(), 414, Reason::UriTooLong),
    ] {
        let answered = gateway.connect(false).await.get(path, &fields).await;
        assert_eq!(answered.status, status);
        let expected = format!("\"reason\":\"{reason}\"");
        assert!(answered.body.contains(&expected), "{}", answered.body);
        assert!(answered.head.contains("x-request-id: req_"));
    }
    let records = gateway.records(3).await;
    assert!(records.iter().all(|record| record.reason.is_some()));
    assert_eq!(
        gateway
            .connect(false)
            .await
            .get("/open", &many(90))
            .await
            .status,
        200
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_counted() {
    let gateway = Gateway::start().await;
    for nonsense in [&b"GET  /open HTTP/1.1\r\n\r\n"[..], b"\0\x01\r\n\r\n"] {
        let mut partner = gateway.connect(false).await;
        partner.0.write_all(nonsense).await.unwrap();
        partner.0.flush().await.unwrap();
        partner.closed().await;
    }
    let many = "X-N: 1\r\n".repeat(500);
    assert_eq!(
        gateway
            .connect(false)
            .await
            .get("/open", &many)
            .await
            .status,
        431
    );
    let counted = [("request_malformed", 2), ("headers_too_large", 1)];
    let all = counted.map(|(reason, count)| {
        format!("countersign_refusals_total{{reason=\"{reason}\"}} {count}\n")
    });
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while !all.iter().all(|line| gateway.exported().contains(line)) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{}",
            gateway.exported()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_at_once_end_the_connection_at_the_configured_number() {
    for (resets_max, ends) in [(2, true), (20, false)] {
        let mut settings = Settings::default();
        settings.http.resets_max = resets_max;
        let gateway = Gateway::start_with(settings).await;
        let mut stream = gateway.handshake(false, true).await;
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        for id in [1, 3, 5, 7, 9] {
            // GET https://localhost/ and at once RST_STREAM, CANCEL.
            bytes.extend([0, 0, 14, 1, 5, 0, 0, 0, id, 0x82, 0x87, 0x84, 0x41, 9]);
            bytes.extend(b"localhost");
            bytes.extend([0, 0, 4, 3, 0, 0, 0, 0, id, 0, 0, 0, 8]);
        }
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        let mut said = Vec::new();
        let ended = timeout(Duration::from_secs(1), stream.read_to_end(&mut said)).await;
        assert_eq!(ended.is_ok(), ends, "{resets_max}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_one_exchange_harms_no_other() {
    let gateway = Gateway::start().await;
    let mut partner = gateway.connect(false).await;
    let whoami = WHOAMI.path;
    assert_eq!(
        partner.get(whoami, "").await.body,
        "countersign.whoami false"
    );
    assert_eq!(
        partner.get(&format!("{whoami}/panic"), "").await.status,
        500
    );
    assert_eq!(partner.get(whoami, "").await.status, 200);
    let records = gateway.records(3).await;
    assert_eq!(records[1].reason, Some(Reason::Internal));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_hangs_delays_no_forwarded_request() {
    let gateway = Gateway::start().await;
    let mut hanging = Vec::new();
    for _ in 0..20 {
        let mut partner = gateway.connect(false).await;
        partner.send(&format!("{}/hang", WHOAMI.path), "").await;
        hanging.push(partner);
    }
    let mut partner = gateway.connect(true).await;
    for _ in 0..20 {
        assert_eq!(partner.get("/mtls", "").await.status, 200);
    }
    let waiting = timeout(Duration::from_millis(50), hanging[0].receive()).await;
    assert!(waiting.is_err(), "it hangs");
    gateway.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn http2_is_served_alike_and_told_when_its_certificate_ends() {
    let serving = async {
        let gateway = Gateway::start().await;
        let stream = TokioIo::new(gateway.handshake(true, true).await);
        let (mut requests, connection) =
            http2_client(64 << 10, 128).handshake(stream).await.unwrap();
        let connection = tokio::task::spawn_local(connection);
        let get = |path: &str, fields: &[(&str, &str)]| {
            let mut request = http::Request::get(format!("https://localhost{path}"));
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            request.body(Empty::<Bytes>::new()).unwrap()
        };
        let cookies = [
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("x-ssl-client-verify", "SUCCESS"),
        ];
        let answered = requests.send_request(get("/mtls", &cookies)).await.unwrap();
        assert_eq!(answered.status(), 200);
        let body = answered.into_body().collect().await.unwrap().to_bytes();
        let seen = String::from_utf8(body.to_vec()).unwrap().to_lowercase();
        assert!(seen.contains("cookie: a=1; b=2\r\n"), "{seen}");
        assert!(seen.contains("host: localhost\r\n"), "{seen}");
        assert!(!seen.contains("x-ssl-client-verify"), "{seen}");
        let answered = requests.send_request(get("/nowhere", &[])).await.unwrap();
        assert_eq!(answered.status(), 404);
        let mismatch = requests.send_request(get("/open", &[("host", "evil.example.com")]));
        assert_eq!(mismatch.await.unwrap().status(), 400);

        assert_eq!(gateway.revoke().await.connections_closed, 1);
        let ended = timeout(Duration::from_secs(5), connection).await;
        ended.expect("the connection ends").unwrap().unwrap();
        assert_eq!(gateway.records(3).await.len(), 3);
        gateway.stop().await;
    };
    tokio::task::LocalSet::new().run_until(serving).await;
}
