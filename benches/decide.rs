//! What it costs to decide about one request, with a small registry and with a big one: the registry's word, routing,
//! the policy, the arithmetic of a limit; and how much memory a credential takes. See README.md.

#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a benchmark fails by panicking, and says what it measured"
)]

#[path = "../src/domain/mod.rs"]
#[expect(dead_code, reason = "the room is larger than what is measured")]
#[cfg_attr(test, expect(unused_imports, reason = "its tests are left out"))]
mod domain;

#[path = "rig/measure.rs"]
#[expect(dead_code, reason = "each benchmark uses some of it")]
mod measure;

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use domain::api_key::{DigestKind, Environment, KeyKind, SecretDigest};
use domain::app::{App, AppState};
use domain::certificate::{Fingerprint, SerialNumber};
use domain::credential::CredentialState;
use domain::id::{AppId, CertificateId, KeyId};
use domain::identity::{Bearer, Caller, Evidence};
use domain::key_index::KeyIndex;
use domain::limit::{Limit, Moment, Per};
use domain::name::Name;
use domain::path::Path;
use domain::permit::Permit;
use domain::policy::{Policy, Requirement};
use domain::rate::{Rate, Verdict};
use domain::request::RequestHead;
use domain::route::{HostPattern, PathPattern, Route, RouteTable, Target};
use domain::scope::ScopeSet;
use domain::shelf::Shelf;
use domain::snapshot::{Catalog, CertificateEntry, HostPolicies, KeyEntry, Snapshot};
use domain::tcp::Tcp;
use domain::time::{Timestamp, Validity};
use domain::upstream::{AnswerBounds, PoolBounds, Protocol, Timeouts, Upstream};
use foldhash::HashMap;
use measure::{How, Rng};

// As in the gateway, because the allocator's rounding is part of what an entry takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);

/// Certificates, and as many keys, in a tenth as many Apps.
const SMALL: usize = 1_000;
const BIG: usize = 1_000_000;

/// Enough different ones that they do not fit into a cache.
const PROBES: usize = 1 << 18;

/// Hosts, and routes on each of them.
const HOSTS: usize = 1_000;
const ROUTES: usize = 10;

/// Requests that each case is counted over under callgrind.
const COUNTED: usize = 1_000;

type Case = (&'static str, fn(&Scene, &[Probe]));

const CASES: [Case; 6] = [
    ("certificate", case_certificate),
    ("key", case_key),
    ("limit", case_limit),
    ("policy", case_policy),
    ("request", case_request),
    ("route", case_route),
];

fn main() {
    if let Some(size) = argument("--size") {
        return under_callgrind(size);
    }
    if let Some(count) = argument("--memory") {
        return memory(count);
    }
    match How::from_arguments() {
        How::Once => {
            for (name, case) in CASES {
                let scene = Scene::new(SMALL);
                case(&scene, &scene.probes(10));
                println!("{name}: works");
            }
            memory(SMALL);
        }
        How::Counted => counted(),
        How::Timed | How::UnderCallgrind => {
            timed();
            workers();
            again_without_hoarding();
        }
    }
}

/// The number that follows `name` on the command line.
fn argument(name: &str) -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}

fn timed() {
    let (small, big) = (Scene::new(SMALL), Scene::new(BIG));
    println!("ns for one request        {SMALL:>10} registered        {BIG:>10} registered");
    println!("                        the same     any of them       the same     any of them");
    for (name, case) in CASES {
        let measured = [&small, &big].map(|scene| {
            let any = scene.probes(PROBES);
            let same = vec![any[0]; PROBES];
            [same, any].map(|probes| {
                case(scene, &probes);
                measure::nanoseconds(probes.len(), || case(scene, &probes))
            })
        });
        let [[a, b], [c, d]] = measured;
        println!("{name:<14}{a:>18.0}{b:>16.0}{c:>15.0}{d:>16.0}");
    }
}

/// The same walk on one thread and on two at once, on one snapshot: what two workers lose to each other.
fn workers() {
    let scene = Scene::new(SMALL);
    let live = ArcSwap::from_pointee(scene.snapshot.clone());
    let probes = scene.probes(1 << 12);
    let apart = [&probes[..1 << 11], &probes[1 << 11..]];
    let together = [&probes[..], &probes[..]];
    println!("million requests decided in a second, each on the live snapshot");
    for (name, shares) in [("different callers", apart), ("the same callers", together)] {
        let alone = rate(&scene, &live, &shares[..1]);
        let both = rate(&scene, &live, &shares);
        println!(
            "{name:<20} one thread {alone:.2}, two threads {both:.2}: {:.2} times",
            both / alone
        );
    }
}

fn rate(scene: &Scene, live: &ArcSwap<Snapshot>, shares: &[&[Probe]]) -> f64 {
    let begun = Instant::now();
    let decided: usize = std::thread::scope(|scope| {
        #[expect(
            clippy::needless_collect,
            reason = "all have to run before one is waited for"
        )]
        let threads: Vec<_> = shares
            .iter()
            .map(|probes| {
                scope.spawn(move || {
                    let mut decided = 0;
                    while begun.elapsed() < Duration::from_secs(2) {
                        for probe in *probes {
                            request(&live.load(), scene, probe);
                        }
                        decided += probes.len();
                    }
                    decided
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    decided as f64 / begun.elapsed().as_secs_f64() / 1e6
}

fn counted() {
    println!("instructions for one request    {SMALL:>10} registered {BIG:>14} registered");
    let [small, big] =
        [SMALL, BIG].map(|size| measure::instructions(&["--size", &size.to_string()]));
    for ((name, few), (_, many)) in small.iter().zip(&big) {
        let [few, many] = [few, many].map(|count| *count / COUNTED as u64);
        println!("{name:<16}{few:>27}{many:>26}");
    }
}

fn under_callgrind(size: usize) {
    let scene = Scene::new(size);
    let probes = scene.probes(COUNTED);
    for (_, case) in CASES {
        case(&scene, &probes);
    }
}

/// Memory in a process of its own, whose allocator gives back at once what is free, so that
/// what the building took for a while is not counted.
fn again_without_hoarding() {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--memory", &BIG.to_string()])
        .env("MIMALLOC_PURGE_DELAY", "0")
        .status();
    assert!(status.unwrap().success());
}

fn memory(count: usize) {
    let since = |before: u64, count: usize| {
        (measure::resident().saturating_sub(before)) as f64 / count as f64
    };
    let before = measure::resident();
    let certificates = Shelf::build(certificates(count));
    println!("bytes for a certificate {:.0}", since(before, count));
    let before = measure::resident();
    let keys = Shelf::build(keys(count));
    println!("bytes for a key         {:.0}", since(before, count));
    let before = measure::resident();
    let apps = Shelf::build(apps(count));
    println!("bytes for an App        {:.0}", since(before, count / 10));
    black_box((&certificates, &keys, &apps));
}

// --- what is measured -------------------------------------------------------------------------------------------------

#[inline(never)]
fn case_certificate(scene: &Scene, probes: &[Probe]) {
    for probe in probes {
        let judged = scene.snapshot.judge(&probe.fingerprint, &validity(), NOW);
        black_box(judged.unwrap());
    }
}

#[inline(never)]
fn case_key(scene: &Scene, probes: &[Probe]) {
    for probe in probes {
        black_box(scene.snapshot.live_key(probe.key, NOW).unwrap());
    }
}

#[inline(never)]
fn case_route(scene: &Scene, probes: &[Probe]) {
    for probe in probes {
        black_box(route(&scene.snapshot, scene, probe));
    }
}

#[inline(never)]
fn case_policy(scene: &Scene, probes: &[Probe]) {
    let caller = scene.caller();
    for _ in probes {
        black_box(Permit::decide(&caller, &scene.route, upstreams(&scene.snapshot)).unwrap());
    }
}

#[inline(never)]
fn case_limit(scene: &Scene, probes: &[Probe]) {
    let mut state = 0;
    for now in (1..).take(probes.len()) {
        if let Verdict::Allowed { next, .. } = scene.limit.meter().ask(state, at(now)) {
            state = black_box(next);
        }
    }
}

/// A moment by the clock of rates.
const fn at(nanos: u64) -> Moment {
    Moment { nanos, seconds: 0 }
}

#[inline(never)]
fn case_request(scene: &Scene, probes: &[Probe]) {
    for probe in probes {
        request(&scene.snapshot, scene, probe);
    }
}

/// What the walk decides by the snapshot.
fn request(snapshot: &Snapshot, scene: &Scene, probe: &Probe) {
    let route = route(snapshot, scene, probe);
    let permit = Permit::decide(&caller(snapshot, probe), route, upstreams(snapshot)).unwrap();
    let verdict = scene.limit.meter().ask(0, at(1));
    black_box((permit, verdict));
}

fn upstreams(snapshot: &Snapshot) -> &HashMap<Name, Arc<Upstream>> {
    &snapshot.catalog.upstreams
}

fn route<'s>(snapshot: &'s Snapshot, scene: &Scene, probe: &Probe) -> &'s Arc<Route> {
    let path = Path::read(&scene.paths[usize::from(probe.path)]).unwrap();
    let head = RequestHead {
        host: &scene.hosts[usize::from(probe.host)],
        path: &path,
        method: &http::Method::GET,
    };
    snapshot.catalog.routes.find(&head).unwrap()
}

// --- what it is measured on -------------------------------------------------------------------------------------------

struct Scene {
    size: usize,
    snapshot: Snapshot,
    route: Arc<Route>,
    limit: Limit,
    hosts: Vec<String>,
    paths: Vec<String>,
}

/// One request: who sends it, and where it wants to go. It is small: what a worker has just read from a socket
/// it finds in its cache, so here it must not have to come from far.
#[derive(Clone, Copy)]
struct Probe {
    fingerprint: Fingerprint,
    key: KeyId,
    host: u16,
    path: u16,
}

impl Scene {
    fn new(size: usize) -> Self {
        let routes = RouteTable::new((0..HOSTS * ROUTES).map(nth_route).collect()).unwrap();
        let upstream = Arc::new(upstream());
        let snapshot = Snapshot {
            version: 1,
            revision: 1,
            catalog: Arc::new(Catalog {
                generation: 1,
                routes,
                upstreams: std::iter::once((upstream.name.clone(), upstream)).collect(),
                tls_policies: HostPolicies::default(),
                issuer: "https://api.example.com".into(),
                client_auth: domain::token::ClientAuthMethods::default(),
                legacy_limit_fields: false,
                profile: domain::token_profile::TokenProfile::default(),
                issuers: domain::issuer::ForeignIssuers::default(),
            }),
            apps: Shelf::build(apps(size)),
            certificates: Shelf::build(certificates(size)),
            keys: Shelf::build(keys(size)),
            key_index: KeyIndex::default(),
            verification_keys: Arc::new([]),
            published: Arc::default(),
            token_ends: Shelf::default(),
        };
        Self {
            size,
            snapshot,
            route: Arc::new(nth_route(0)),
            limit: Limit::new(
                "orders".parse().unwrap(),
                Per::App,
                Rate {
                    count: 1_000,
                    period: Duration::from_secs(1),
                    burst: 1_000,
                },
            ),
            hosts: (0..HOSTS).map(host_name).collect(),
            paths: (0..ROUTES)
                .map(|route| format!("/v1/area{route}/orders/4711"))
                .collect(),
        }
    }

    /// Requests of callers that are drawn by lot.
    fn probes(&self, count: usize) -> Vec<Probe> {
        let mut rng = Rng(1);
        let mut lot = move |of: usize| usize::try_from(rng.next() % of as u64).unwrap();
        (0..count)
            .map(|_| {
                let number = lot(self.size);
                Probe {
                    fingerprint: fingerprint(number),
                    key: key_id(number),
                    host: u16::try_from(lot(HOSTS)).unwrap(),
                    path: u16::try_from(lot(ROUTES)).unwrap(),
                }
            })
            .collect()
    }

    /// The caller of the first request.
    fn caller(&self) -> Caller {
        caller(&self.snapshot, &self.probes(1)[0])
    }
}

/// Who sends a request, by the registry.
fn caller(snapshot: &Snapshot, probe: &Probe) -> Caller {
    let proof = snapshot.judge(&probe.fingerprint, &validity(), NOW);
    let (key, app) = snapshot.live_key(probe.key, NOW).unwrap();
    Caller {
        certificate: Evidence::Proved(proof.unwrap()),
        bearer: Evidence::Proved(Bearer::Key {
            id: probe.key,
            app: Arc::clone(app),
            scopes: key.scopes.clone(),
            facts: key.facts(),
        }),
    }
}

fn nth_route(number: usize) -> Route {
    let (host, route) = (number / ROUTES, number % ROUTES);
    Route {
        name: format!("route-{number}").into(),
        host: HostPattern::Exact(host_name(host)),
        path: PathPattern::exact(&format!("/v1/area{route}/orders/{{id}}")).unwrap(),
        methods: vec![http::Method::GET, http::Method::POST],
        policy: Policy::new(Requirement::MtlsAndKey, "orders:read".parse().unwrap()),
        limits: Vec::new(),
        target: Target::Upstream("orders".parse().unwrap()),
        body_max: None,
        body_times: domain::pace::BodyTimes::default(),
        ambiguous_paths: domain::oddity::Oddities::NONE,
        keep_credential: false,
        upgrades: domain::upgrades::Upgrades::default(),
        header_names: domain::header_names::HeaderNames::default(),
        identity_headers: Arc::default(),
    }
}

fn upstream() -> Upstream {
    Upstream {
        name: "orders".parse().unwrap(),
        endpoints: Vec::new(),
        protocol: Protocol::default(),
        timeouts: Timeouts::default(),
        pool: PoolBounds::default(),
        http: AnswerBounds::default(),
        tcp: Tcp::default(),
        server_name: None,
        tls_generation: 0,
    }
}

fn host_name(number: usize) -> String {
    format!("api-{number}.example.com")
}

fn certificates(count: usize) -> impl ExactSizeIterator<Item = (Fingerprint, CertificateEntry)> {
    (0..count).map(move |number| {
        let fingerprint = fingerprint(number);
        let entry = CertificateEntry {
            id: CertificateId::from_bits(id_bits(2, number)),
            app: app_id(number % (count / 10)),
            serial: SerialNumber::from_bytes(&fingerprint.as_bytes()[..20]).unwrap(),
            validity: validity(),
            state: CredentialState::Active,
        };
        (fingerprint, entry)
    })
}

/// All have the same scopes, and share them as they do when they come out of the store.
fn keys(count: usize) -> impl ExactSizeIterator<Item = (KeyId, KeyEntry)> {
    let scopes: ScopeSet = "orders:read orders:write".parse().unwrap();
    (0..count).map(move |number| {
        let entry = KeyEntry {
            app: app_id(number % (count / 10)),
            digest: SecretDigest(*fingerprint(number).as_bytes()),
            scopes: scopes.clone(),
            networks: Box::default(),
            digest_kind: DigestKind::Own,
            state: CredentialState::Active,
            expires_at: None,
            kind: KeyKind::Secret,
            environment: Environment::Live,
            tail: None,
            tokens_outlive: false,
            rules: None,
        };
        (key_id(number), entry)
    })
}

fn apps(count: usize) -> impl ExactSizeIterator<Item = (AppId, Arc<App>)> {
    (0..count / 10).map(|number| {
        let app = App {
            id: app_id(number),
            name: format!("partner-{number}").parse().unwrap(),
            state: AppState::Active,
            contact: None,
            settings: domain::app_settings::AppSettings::default(),
            boosts: Arc::default(),
            created_at: NOW,
        };
        (app.id, Arc::new(app))
    })
}

fn app_id(number: usize) -> AppId {
    AppId::from_bits(id_bits(1, number))
}

fn key_id(number: usize) -> KeyId {
    KeyId::from_bits(id_bits(3, number))
}

/// As the gateway's own: a time in front, chance behind it.
fn id_bits(kind: u64, number: usize) -> u128 {
    let chance = Rng(kind << 56 ^ number as u64).next();
    (0x0190_0000_0000_7000_u128 + number as u128) << 64 | u128::from(chance)
}

fn fingerprint(number: usize) -> Fingerprint {
    let mut rng = Rng(4 << 56 ^ number as u64);
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&rng.next().to_be_bytes());
    }
    Fingerprint::from_bytes(bytes)
}

fn validity() -> Validity {
    Validity {
        not_before: NOW,
        not_after: NOW.plus(Duration::from_hours(2160)),
    }
}
