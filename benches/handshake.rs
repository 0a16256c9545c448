//! What a TLS handshake with a client certificate costs the gateway: the first with a certificate, whose chain has to be
//! built; a later one, whose chain is recognised; one that resumes a session; each with the registry's word after it.
//! See README.md.

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
#[path = "../src/proxy/mod.rs"]
#[expect(dead_code, reason = "the room is larger than what is measured")]
#[cfg_attr(test, expect(unused_imports, reason = "its tests are left out"))]
mod proxy;

#[path = "rig/measure.rs"]
#[expect(dead_code, reason = "each benchmark uses some of it")]
mod measure;
#[path = "rig/partners.rs"]
mod partners;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crypto::certificate_details::Issuers;
use domain::identity::Evidence;
use domain::key_index::KeyIndex;
use domain::route::RouteTable;
use domain::shelf::Shelf;
use domain::snapshot::{Catalog, HostPolicies, Snapshot};
use domain::tls_policy::TlsPolicy;
use measure::How;
use net::tls::ClientConfig;
use partners::{House, ORIGIN};
use proxy::generations::{Generation, Generations};
use proxy::intake::handshake::{Leaves, TlsPolicies, prove};
use proxy::upstream::connectors::ConnectorMap;

// As in the gateway.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Certificates registered beside the partner's.
const SMALL: usize = 1_000;
const BIG: usize = 1_000_000;

/// Handshakes that each case is counted over.
const COUNTED: usize = 20;
const TIMED: usize = 500;

type Shaking<'s> = Pin<&'s mut dyn Future<Output = bool>>;
type Case = fn(Shaking<'_>, &mut Context<'_>) -> Poll<bool>;

/// In the order of their names.
const CASES: [(&str, Case); 3] = [
    ("recognised", case_recognised),
    ("resumed", case_resumed),
    ("unrecognised", case_unrecognised),
];

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--size");
    if let Some(size) = arguments.nth(1) {
        let scene = Scene::new(size.parse().unwrap());
        for (name, case) in CASES {
            scene.shake_hands(name, case, COUNTED);
        }
        return;
    }
    match How::from_arguments() {
        How::Once => {
            let scene = Scene::new(10);
            for (name, case) in CASES {
                scene.shake_hands(name, case, 1);
                println!("{name}: works");
            }
        }
        How::Counted => counted(),
        How::Timed | How::UnderCallgrind => timed(),
    }
}

fn timed() {
    let scenes = [Scene::new(SMALL), Scene::new(BIG)];
    println!("us for one handshake         {SMALL:>10} registered {BIG:>14} registered");
    for (name, case) in CASES {
        let [few, many] = scenes.each_ref().map(|scene| {
            let spent = scene.shake_hands(name, case, TIMED);
            spent.as_nanos() as f64 / 1e3 / TIMED as f64
        });
        println!("{name:<16}{few:>24.1}{many:>26.1}");
    }
}

fn counted() {
    println!("instructions for one handshake  {SMALL:>10} registered {BIG:>14} registered");
    let [small, big] =
        [SMALL, BIG].map(|size| measure::instructions(&["--size", &size.to_string()]));
    for ((name, few), (_, many)) in small.iter().zip(&big) {
        let [few, many] = [few, many].map(|count| *count / COUNTED as u64);
        println!("{name:<16}{few:>27}{many:>26}");
    }
}

// --- what is measured: the gateway's turns, whatever its client does in between --------------------------------------

#[inline(never)]
fn case_recognised(shaking: Shaking<'_>, context: &mut Context<'_>) -> Poll<bool> {
    black_box(1);
    shaking.poll(context)
}

#[inline(never)]
fn case_resumed(shaking: Shaking<'_>, context: &mut Context<'_>) -> Poll<bool> {
    black_box(2);
    shaking.poll(context)
}

#[inline(never)]
fn case_unrecognised(shaking: Shaking<'_>, context: &mut Context<'_>) -> Poll<bool> {
    black_box(3);
    shaking.poll(context)
}

// --- what it is measured on -------------------------------------------------------------------------------------------

struct Scene {
    house: House,
    snapshot: Snapshot,
}

impl Scene {
    fn new(size: usize) -> Self {
        let house = House::new();
        let catalog = Catalog {
            generation: 1,
            routes: RouteTable::default(),
            upstreams: foldhash::HashMap::default(),
            tls_policies: HostPolicies::default(),
            issuer: "".into(),
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
            certificates: house.registered(size),
            keys: Shelf::default(),
            key_index: KeyIndex::default(),
            verification_keys: Arc::new([]),
            published: Arc::default(),
            token_ends: Shelf::default(),
        };
        Self { house, snapshot }
    }

    /// Shakes hands `count` times, and gives the time that the gateway's turns took.
    fn shake_hands(&self, name: &str, case: Case, count: usize) -> Duration {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut policies = self.policies();
            let leaves = Leaves::default();
            let mut client = self.house.client();
            // Whoever is to be recognised, or to resume, was here before.
            let warm: Case = |shaking, context| shaking.poll(context);
            if name != "unrecognised" {
                self.shake(&policies, &leaves, &client, warm).await;
            }
            let mut spent = Duration::ZERO;
            for _ in 0..count {
                match name {
                    "recognised" => client = self.house.client(),
                    "unrecognised" => (policies, client) = (self.policies(), self.house.client()),
                    _ => {}
                }
                let (resumed, time) = self.shake(&policies, &leaves, &client, case).await;
                assert_eq!(resumed, name == "resumed");
                spent += time;
            }
            spent
        })
    }

    fn policies(&self) -> Generations {
        let listener = HashMap::from([(TlsPolicy::default(), self.house.listener())]);
        Generations::new(Generation {
            policies: TlsPolicies::new(1, listener, HostPolicies::default()).unwrap(),
            connectors: ConnectorMap::default(),
            issuers: Issuers::default(),
        })
    }

    /// One handshake, with a byte after it that brings the client its tickets; says whether it resumed a session.
    async fn shake(
        &self,
        policies: &Generations,
        leaves: &Leaves,
        client: &Arc<ClientConfig>,
        case: Case,
    ) -> (bool, Duration) {
        let (ours, theirs) = duplex(64 << 10);
        let mut spent = Duration::ZERO;
        let mut shaking = pin!(self.accept(ours, policies, leaves));
        let accepting = poll_fn(|context| {
            let begun = Instant::now();
            let polled = case(shaking.as_mut(), context);
            spent += begun.elapsed();
            polled
        });
        let connecting = async {
            let stream = net::tls::connect(theirs, Arc::clone(client), "localhost").await;
            stream.unwrap().read_u8().await.unwrap();
        };
        let (resumed, ()) = tokio::join!(accepting, connecting);
        (resumed, spent)
    }

    async fn accept(&self, stream: DuplexStream, policies: &Generations, leaves: &Leaves) -> bool {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        let pick = |sni: Option<&str>| policies.pick(&self.snapshot.catalog, sni);
        let proved = prove(stream, ORIGIN, pick, leaves, deadline).await;
        let mut proved = proved.unwrap();
        let evidence = self
            .snapshot
            .evidence(proved.peer.certificate(), self.house.now);
        assert!(matches!(evidence, Evidence::Proved(_)));
        proved.stream.write_u8(0).await.unwrap();
        proved.stream.flush().await.unwrap();
        proved.resumed
    }
}
