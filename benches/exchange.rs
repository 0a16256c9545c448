//! What a request costs the data plane from the partner's bytes to the upstream's and back: TLS, the walk, both sides of
//! HTTP, over loopback in one process. See README.md.

#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, and says what it measured"
)]

#[path = "../src/crypto/mod.rs"]
#[expect(dead_code, reason = "the room is larger than what is measured")]
#[cfg_attr(
    test,
    expect(unused_imports, unused_macros, reason = "its tests are left out")
)]
mod crypto;
#[path = "../src/domain/mod.rs"]
#[expect(dead_code, reason = "the room is larger than what is measured")]
#[cfg_attr(test, expect(unused_imports, reason = "its tests are left out"))]
mod domain;
#[path = "../src/net/mod.rs"]
#[expect(dead_code, reason = "the room is larger than what is measured")]
#[cfg_attr(test, expect(unused_imports, reason = "its tests are left out"))]
mod net;
#[path = "../src/daemon/access_lines.rs"]
#[cfg_attr(
    test,
    expect(dead_code, unused_imports, reason = "its tests are left out")
)]
mod access_lines;
#[path = "../src/proxy/mod.rs"]
#[expect(dead_code, reason = "the room is larger than what is measured")]
#[cfg_attr(test, expect(unused_imports, reason = "its tests are left out"))]
mod proxy;
/// What the access log's lines are written with.
#[path = "../src/telemetry"]
mod telemetry {
    #[cfg_attr(test, expect(dead_code, reason = "its tests are left out"))]
    pub mod json_line;
}

#[path = "rig/measure.rs"]
#[expect(dead_code, reason = "each benchmark uses some of it")]
mod measure;
#[path = "rig/partners.rs"]
#[expect(dead_code, reason = "each benchmark uses some of it")]
mod partners;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crypto::access_token::AccessTokens;
use crypto::api_key::SecretHasher;
use crypto::assertion::AssertionSigner;
use crypto::certificate_details::Issuers;
use crypto::dpop::proofs::Proofs;
use crypto::jwt::TokenSigner;
use domain::api_key::{DigestKind, Environment, KeyKind, SecretDigest};
use domain::credential::CredentialState;
use domain::id::{KeyId, TokenId};
use domain::key_index::KeyIndex;
use domain::limit::{Limit, Per};
use domain::local_call::LocalCall;
use domain::policy::{Policy, Requirement};
use domain::published_sets::PublishedSets;
use domain::rate::Rate;
use domain::route::{HostPattern, PathPattern, Route, RouteTable, Target};
use domain::shelf::Shelf;
use domain::snapshot::{Catalog, HostPolicies, KeyEntry, Snapshot};
use domain::tcp::Tcp;
use domain::time::Timestamp;
use domain::tls_policy::TlsPolicy;
use domain::token::Claims;
use domain::upstream::{AnswerBounds, Endpoint, PoolBounds, Protocol, Timeouts, Upstream};
use measure::How;
use net::listener;
use net::tcp::TcpOptions;
use partners::{APP, At, House};
use proxy::credentials::signatures::Shared;
use proxy::generations::{Generation, Generations};
use proxy::intake::handshake::TlsPolicies;
use proxy::local::{Answering, LocalService};
use proxy::plane::{Proxy, Wiring};
use proxy::report::ledger::Ledger;
use proxy::settings::Settings;
use proxy::upstream::connectors::ConnectorMap;

// As in the gateway.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEY: KeyId = KeyId::from_bits(9);
const ISSUER: &str = "https://localhost";

/// Certificates registered beside the partner's.
const REGISTERED: usize = 1_000;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n";
const BODY_BYTES: usize = 1024;

/// Requests before anything is counted, and of the longer run that is counted.
const WARM: usize = 500;
const COUNTED: usize = 2_000;
const TIMED: usize = 20_000;

/// What is asked of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// What other proxies do too: a client certificate, and the identity in headers.
    Same,
    /// Besides: a token bound to the certificate, a scope, a limit, a record for the access log.
    Everything,
}

const CASES: [(&str, Work); 2] = [("same", Work::Same), ("everything", Work::Everything)];

fn main() {
    let argument = |name: &str| {
        let mut arguments = std::env::args().skip_while(|argument| argument != name);
        arguments.nth(1)
    };
    if let (Some(case), Some(count)) = (argument("--case"), argument("--count")) {
        let (_, work) = CASES.into_iter().find(|(name, _)| *name == case).unwrap();
        run(work, count.parse().unwrap());
        return;
    }
    match How::from_arguments() {
        How::Once => {
            for (name, work) in CASES {
                run(work, 3);
                println!("{name}: works");
            }
        }
        How::Counted => counted(),
        How::Timed | How::UnderCallgrind => timed(),
    }
}

/// What more requests take more, on the workers' threads alone: starting and the handshake are left out.
fn counted() {
    println!("instructions of the gateway for one request");
    for (name, _) in CASES {
        let [few, many] = [WARM, WARM + COUNTED].map(|count| {
            measure::instructions_but_of_main(&["--case", name, "--count", &count.to_string()])
        });
        println!(
            "{name:<16}{:>12}",
            many.saturating_sub(few) / COUNTED as u64
        );
    }
}

fn timed() {
    println!("us for one request after another, partner and upstream included");
    for (name, work) in CASES {
        let spent = run(work, TIMED);
        println!(
            "{name:<16}{:>12.1}",
            spent.as_nanos() as f64 / 1e3 / TIMED as f64
        );
    }
}

/// Sends so many requests over one connection, and gives the time that they took.
fn run(work: Work, count: usize) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let gateway = Gateway::start(work).await;
        let spent = gateway.ask(count).await;
        gateway.proxy.drain(Duration::ZERO);
        gateway.proxy.join();
        spent
    })
}

// --- what it is measured on -------------------------------------------------------------------------------------------

struct Gateway {
    house: House,
    proxy: Proxy,
    ledger: Arc<Ledger>,
    address: SocketAddr,
    request: String,
}

#[derive(Debug)]
struct NotAsked;

impl PublishedSets for NotAsked {
    fn find(&self, _: &str) -> Option<Arc<str>> {
        None
    }

    fn miss(&self, _: &str, _: Timestamp) {}
}

impl LocalService for NotAsked {
    fn call(&self, _: LocalCall) -> Answering {
        Box::pin(async { Ok(Response::new(Bytes::new()).into()) })
    }
}

impl Gateway {
    async fn start(work: Work) -> Self {
        let house = House::new();
        let signer = TokenSigner::load(&TokenSigner::generate()).unwrap();
        let request = request(work, &house, &signer);
        let upstream = upstream().await;
        let catalog = Catalog {
            generation: 1,
            routes: RouteTable::new(vec![route(work)]).unwrap(),
            upstreams: std::iter::once((upstream.name.clone(), Arc::new(upstream))).collect(),
            tls_policies: HostPolicies::default(),
            issuer: ISSUER.into(),
            client_auth: domain::token::ClientAuthMethods::default(),
            legacy_limit_fields: false,
            profile: domain::token_profile::TokenProfile::default(),
            issuers: domain::issuer::ForeignIssuers::default(),
        };
        let snapshot = Snapshot {
            version: 1,
            revision: 1,
            catalog: Arc::new(catalog),
            apps: house.apps(),
            certificates: house.registered(REGISTERED),
            keys: Shelf::build([(KEY, key())]),
            key_index: KeyIndex::default(),
            verification_keys: Arc::new([signer.verification_key()]),
            published: Arc::default(),
            token_ends: Shelf::default(),
        };
        let policies = HashMap::from([(TlsPolicy::default(), house.listener())]);
        let policies = TlsPolicies::new(1, policies, HostPolicies::default()).unwrap();
        let generations = Generations::new(Generation {
            policies,
            connectors: ConnectorMap::default(),
            issuers: Issuers::new(house.authority.issuers()),
        });
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listener::bind(any, 16, true, &TcpOptions::default()).unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = Arc::new(match work {
            Work::Same => Ledger::off(),
            Work::Everything => Ledger::new(1, access_lines::write),
        });
        let signer = Arc::new(ArcSwap::from_pointee(signer));
        let wiring = Wiring {
            live: Arc::new(ArcSwap::from_pointee(snapshot)),
            generations: Arc::new(ArcSwap::from_pointee(generations)),
            listeners: vec![listener],
            local: Arc::new(NotAsked),
            hasher: Arc::new(SecretHasher::new(None)),
            signatures: Shared {
                texts: None,
                published: Arc::new(NotAsked),
                seen: Arc::default(),
            },
            proofs: Arc::new(Proofs::new(true)),
            access_tokens: Arc::new(AccessTokens::load(&AccessTokens::generate()).unwrap()),
            missing_keys: tokio::sync::mpsc::channel(1).0,
            assertions: AssertionSigner::new(signer),
            clock: Arc::new(At(house.now)),
            ledger: Arc::clone(&ledger),
            quotas: Vec::new(),
            registry: &prometheus::Registry::new(),
        };
        Self {
            proxy: Proxy::start(Settings::default(), wiring).unwrap(),
            house,
            ledger,
            address,
            request,
        }
    }

    /// One request after another, over one connection.
    async fn ask(&self, count: usize) -> Duration {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = net::tls::connect(stream, self.house.client(), "localhost").await;
        let mut stream = stream.unwrap();
        let mut lines = Vec::new();
        let begun = Instant::now();
        for number in 0..count {
            stream.write_all(self.request.as_bytes()).await.unwrap();
            read_answer(&mut stream).await;
            // As the writer of the access log does.
            if number % 1000 == 0 {
                lines.clear();
                self.ledger.take(&mut lines);
            }
        }
        begun.elapsed()
    }
}

/// As `compare` sends them, and with a token where one is asked for.
fn request(work: Work, house: &House, signer: &TokenSigner) -> String {
    let claims = Claims {
        session: None,
        issuer: ISSUER.to_owned(),
        audience: ISSUER.to_owned(),
        id: TokenId::from_bits(10),
        app: APP,
        key: KEY,
        subject: None,
        scopes: "bench".parse().unwrap(),
        issued_at: house.now,
        expires_at: house.now.plus(Duration::from_hours(1)),
        certificate: Some(house.partner.leaf.fingerprint),
        proof_key: None,
    };
    let authorization = match work {
        Work::Same => "0123456789abcdef".repeat(4),
        Work::Everything => signer.sign(&claims),
    };
    format!(
        "GET /orders/4711 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench/1.0\r\nAccept: application/json\r\n\
         Authorization: Bearer {authorization}\r\n\r\n"
    )
}

fn route(work: Work) -> Route {
    let everything = work == Work::Everything;
    let rate = Rate {
        count: 1_000_000,
        period: Duration::from_secs(1),
        burst: 1_000_000,
    };
    let limit = Limit::new("many".parse().unwrap(), Per::App, rate);
    Route {
        name: "orders".into(),
        host: HostPattern::Exact("localhost".to_owned()),
        path: PathPattern::prefix("/").unwrap(),
        methods: Vec::new(),
        policy: Policy::new(
            match work {
                Work::Same => Requirement::Mtls,
                Work::Everything => Requirement::MtlsAndToken,
            },
            if everything { "bench" } else { "" }.parse().unwrap(),
        ),
        limits: everything.then(|| Arc::new(limit)).into_iter().collect(),
        target: Target::Upstream("api".parse().unwrap()),
        body_max: None,
        body_times: domain::pace::BodyTimes::default(),
        ambiguous_paths: domain::oddity::Oddities::NONE,
        keep_credential: false,
        upgrades: domain::upgrades::Upgrades::default(),
        header_names: domain::header_names::HeaderNames::default(),
        identity_headers: Arc::default(),
    }
}

fn key() -> KeyEntry {
    KeyEntry {
        app: APP,
        digest: SecretDigest([0; 32]),
        scopes: "bench".parse().unwrap(),
        networks: Box::default(),
        digest_kind: DigestKind::Own,
        state: CredentialState::Active,
        expires_at: None,
        kind: KeyKind::Secret,
        environment: Environment::Live,
        tail: None,
        tokens_outlive: false,
        rules: None,
    }
}

/// An API on the partner's own thread that answers whatever it is asked.
async fn upstream() -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(answer(stream));
        }
    });
    Upstream {
        name: "api".parse().unwrap(),
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

/// Requests have no bodies, so each ends with its head.
async fn answer(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut answer = ANSWER.to_vec();
    answer.resize(ANSWER.len() + BODY_BYTES, b'x');
    let (mut head, mut piece) = (Vec::new(), [0; 8192]);
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        head.extend_from_slice(&piece[..length]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

async fn read_answer(stream: &mut (impl AsyncReadExt + Unpin)) {
    let (mut answer, mut piece) = (Vec::new(), [0; 8192]);
    loop {
        let length = stream.read(&mut piece).await.unwrap();
        assert!(length > 0, "the gateway closed the connection");
        answer.extend_from_slice(&piece[..length]);
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|end| answer.len() >= end + 4 + BODY_BYTES) {
            assert!(
                answer.starts_with(b"HTTP/1.1 200 "),
                "{}",
                String::from_utf8_lossy(&answer)
            );
            return;
        }
    }
}
