//! The assembly of a gateway from its configuration: the one place that connects the rooms.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use prometheus::Registry;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::addresses::Addresses;
use super::clock::SystemClock;
use super::descriptors::{self, Shares};
use super::drain::Course;
use super::dropped::Dropped;
use super::gauges::Gauges;
use super::local::Local;
use super::lock::Locks;
use super::registry_view::LiveRegistry;
use super::reload::{InForce, Running, ca_pem};
use super::trust::Trust;
use super::world::{Ground, Served, World};
use super::{access_lines, listeners, pump, settings};
use crate::api::admin::operations::Operations;
use crate::api::admin::state::AdminState;
use crate::api::edge::Edge;
use crate::api::listen::{self, Listening, LocalSocket};
use crate::api::openapi;
use crate::api::ops::health::Health;
use crate::api::ops::router::OpsState;
use crate::api::partner::metrics::TokenMetrics;
use crate::api::partner::service::PartnerService;
use crate::api::{admin, ops};
use crate::config::logs::LogTarget;
use crate::config::root::Config;
use crate::control::metrics::ControlMetrics;
use crate::control::publish::Publisher;
use crate::control::service::{Control, Parts};
use crate::control::tokens::{TokenService, TokenSettings};
use crate::crypto::api_key::SecretHasher;
use crate::crypto::assertion::AssertionSigner;
use crate::crypto::authority::Authority;
use crate::crypto::random;
use crate::crypto::tls;
use crate::domain::admin::Actor;
use crate::domain::id::RequestId;
use crate::domain::snapshot::{Catalog, HostPolicies, Snapshot};
use crate::domain::time::Clock;
use crate::domain::tls_policy::TlsVersion;
use crate::net::tls::ServerConfig;
use crate::proxy::generations::Generations;
use crate::proxy::plane::{Proxy, Wiring};
use crate::proxy::report::ledger::Ledger;
use crate::store::repository::Store;
use crate::telemetry::access_log::{self, AccessLog, Destination};
use crate::telemetry::metrics::{self, BuildInfo};
use crate::telemetry::runtimes::Runtimes;

/// A gateway that serves.
#[derive(Debug)]
pub struct Assembled {
    pub running: Arc<Running>,
    pub proxy: Arc<Proxy>,
    pub access_log: Option<AccessLog>,
    pub addresses: Addresses,
    /// The tasks of the control plane that have to end before the process does.
    pub tasks: TaskTracker,
    /// Cancelled to close the admin and ops listeners.
    pub closing: CancellationToken,
    pub store: Arc<dyn Store>,
    /// The locks, released when the process ends, and not before.
    _locks: Locks,
}

/// The parameters of a start beside its configuration.
#[derive(Debug)]
pub struct Start {
    /// The proof that no other gateway runs from the same directory or store.
    pub locks: Locks,
    /// True if an empty store may be created beside an existing authority.
    pub new_store: bool,
}

/// Builds every room and opens the listeners. A part that cannot be trusted or opened is an error, and nothing serves.
pub async fn assemble(
    config: &Config,
    config_path: &Path,
    start: Start,
) -> anyhow::Result<Assembled> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let workers = workers(config);
    let shares = Shares::of(config, workers, descriptors::raise());
    let registry = Registry::new();
    let build = BuildInfo {
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("COUNTERSIGN_REVISION").unwrap_or("unknown"),
        rustc: env!("CARGO_PKG_RUST_VERSION"),
        tls_provider: "aws-lc-rs",
    };
    metrics::register(&registry, &build)?;
    let gauges = Gauges::register(&registry)?;

    let trust = Trust::open(config, &clock, &registry, start.new_store)?;
    let control_metrics = ControlMetrics::register(&registry)?;
    let (outlet, publications) = mpsc::channel(pump::WAITING_MAX);
    let verification_keys = trust.token_keys.verification_keys().await;
    let signer = trust.token_keys.signer();
    let (publisher, first) = Publisher::start(
        Arc::clone(&trust.store),
        empty_catalog(),
        verification_keys,
        outlet,
        control_metrics.clone(),
    )
    .await?;
    let live = Arc::new(ArcSwap::new(first));
    let view = Arc::new(LiveRegistry {
        live: Arc::clone(&live),
        clock: Arc::clone(&clock),
    });

    let generation = 1;
    let ground = Ground {
        authority: Arc::clone(&trust.authority),
        registry: Arc::clone(&view) as _,
        clock: &*clock,
        listening: config.listeners.partners.address.0.ip(),
        generation,
        shares,
    };
    let world = World::build(&config.replaceable(), &ground)?;
    live.rcu(|snapshot| Snapshot {
        catalog: Arc::clone(&world.catalog),
        ..Snapshot::clone(snapshot)
    });

    let hasher = Arc::new(SecretHasher::new(
        config
            .keys
            .pepper
            .as_ref()
            .map(|pepper| pepper.secret().clone()),
    ));
    let control = Control::new(Parts {
        store: Arc::clone(&trust.store),
        publisher,
        authority: Arc::clone(&trust.authority),
        hasher: Arc::clone(&hasher),
        profile: world.profile,
        clock: Arc::clone(&clock),
        metrics: control_metrics,
        token_keys: trust.token_keys,
    });
    let tokens = TokenSettings {
        ttl: config.tokens.ttl.get(),
        ttl_bound: config.tokens.ttl_bound.get(),
    };
    let tokens = TokenService::new(
        tokens,
        Arc::clone(&signer),
        Arc::clone(&hasher),
        Arc::clone(&clock),
    );
    let ca_pem = Arc::new(ArcSwap::from_pointee(ca_pem(&trust.authority)));
    let partner = PartnerService {
        metrics: TokenMetrics::register(&registry)?,
        tokens: Arc::new(tokens),
        ca_pem: Arc::clone(&ca_pem),
    };

    let (listeners, partners) = listeners::partners(&config.listeners.partners, workers)?;
    let ledger = Arc::new(if config.access_log.enabled {
        Ledger::new(workers, access_lines::write)
    } else {
        Ledger::off()
    });
    let generations = Generations::new(world.generation);
    let generations = Arc::new(ArcSwap::from_pointee(generations));
    let access_log = access_log(config, &ledger)?;
    count_dropped(&registry, &ledger, access_log.as_ref())?;
    let proxy = Proxy::start(
        settings::proxy(&config.fixed(), &shares),
        Wiring {
            live: Arc::clone(&live),
            generations: Arc::clone(&generations),
            listeners,
            local: Arc::new(Local::new(partner, Handle::current())),
            hasher,
            assertions: AssertionSigner::new(signer),
            clock: Arc::clone(&clock),
            ledger,
            registry: &registry,
        },
    )
    .context("starting the workers")?;
    let proxy = Arc::new(proxy);
    let mut runtimes = proxy.runtimes();
    runtimes.push(("control".to_owned(), Handle::current().metrics()));
    Runtimes::register(&registry, runtimes)?;

    let tasks = TaskTracker::new();
    tasks.spawn(pump::pump(publications, Arc::clone(&proxy)));
    // The publisher gets the catalogue too, so that every later snapshot carries it.
    control.publisher().set_catalog(world.catalog).await?;

    for (action, subject) in &trust.created {
        let noted = control.note(&Actor::Gateway, action, subject, json!({}));
        noted.await.with_context(|| format!("noting {action}"))?;
    }

    let health = Arc::new(Health::default());
    gauges.authority_ends(trust.authority.not_after());
    gauges.server_certificates_end(&world.served.certificates.not_after());
    let admin_served = admin_served(&trust.authority, &*clock, config.admin.address.0)?;
    let admin_tls = tls::server_config(
        Arc::clone(&admin_served.certificates),
        None,
        TlsVersion::V1_2,
        false,
    )?;
    gauges.reloaded(config, clock.now());
    let running = Arc::new(Running {
        config_path: config_path.to_owned(),
        started_with: config.clone(),
        in_force: ArcSwap::from_pointee(InForce {
            config: config.clone(),
            served: world.served,
        }),
        shares,
        control: control.clone(),
        live: view,
        generations,
        admin_served,
        ca_pem,
        gauges,
        health: Arc::clone(&health),
        clock: Arc::clone(&clock),
        started_at: clock.now(),
        proxy: Arc::clone(&proxy),
        stopping: CancellationToken::new(),
        drain: Course::default(),
        reloading: Mutex::new(generation),
        addresses: OnceLock::new(),
    });

    let closing = CancellationToken::new();
    let operators = Operators {
        config,
        control,
        running: Arc::clone(&running),
        clock,
        health,
        registry,
        tls: admin_tls,
        tasks: tasks.clone(),
        closing: closing.clone(),
    };
    let (admin, ops) = operators.listen().await?;
    let addresses = Addresses {
        partners,
        admin,
        ops,
        socket: absolute(&config.admin_socket()),
    };
    // This is the only place that sets it.
    let _ = running.addresses.set(addresses.clone());
    Ok(Assembled {
        running,
        proxy,
        access_log,
        addresses,
        tasks,
        closing,
        store: trust.store,
        _locks: start.locks,
    })
}

/// The parts of the listeners for operators and monitors.
struct Operators<'a> {
    config: &'a Config,
    control: Control,
    running: Arc<Running>,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
    registry: Registry,
    tls: Arc<ServerConfig>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Operators<'_> {
    /// Opens the admin API over TLS and over its socket, and the ops listener; returns the addresses of the first and
    /// the last.
    async fn listen(self) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        let edge = Edge {
            ids: request_ids(&self.clock),
            tasks: self.tasks.clone(),
        };
        let how = Listening::new(self.closing, self.tasks.clone());
        let operations: Arc<dyn Operations> = self.running;
        let admin_router = admin::router::router(
            AdminState::new(
                self.control,
                operations,
                Arc::clone(&self.clock),
                openapi::json(),
            ),
            edge.clone(),
        );
        let (admin_listener, admin) = listeners::control(
            "admin.address",
            self.config.admin.address.0,
            &self.config.admin.tcp,
        )?;
        self.tasks.spawn(listen::tcp(
            admin_listener,
            Some(self.tls),
            admin_router.clone(),
            how.clone(),
        ));
        let socket_path = self.config.admin_socket();
        let socket = LocalSocket::bind(&socket_path, Vec::new())
            .await
            .with_context(|| format!("admin.socket {}", socket_path.display()))?;
        self.tasks
            .spawn(listen::unix(socket, admin_router, how.clone()));
        let ops_router = ops::router::router(
            OpsState {
                health: self.health,
                registry: self.registry,
            },
            edge,
        );
        let (ops_listener, ops) = listeners::control(
            "ops.address",
            self.config.ops.address.0,
            &self.config.ops.tcp,
        )?;
        self.tasks
            .spawn(listen::tcp(ops_listener, None, ops_router, how));
        Ok((admin, ops))
    }
}

/// The catalogue before the first world is built; it serves no request.
fn empty_catalog() -> Arc<Catalog> {
    Arc::new(Catalog {
        generation: 0,
        routes: crate::domain::route::RouteTable::default(),
        upstreams: foldhash::HashMap::default(),
        tls_policies: HostPolicies::default(),
        issuer: "".into(),
        client_auth: crate::domain::token::ClientAuthMethods::default(),
    })
}

fn workers(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    config
        .workers
        .map_or_else(cores, |workers| usize::from(workers.get()))
}

/// The certificate of the admin API, whose clients are operators and trust the gateway's authority.
fn admin_served(
    authority: &Authority,
    clock: &dyn Clock,
    address: SocketAddr,
) -> anyhow::Result<Served> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let own = address.ip();
    if !own.is_unspecified() && !own.is_loopback() {
        names.push(own.to_string());
    }
    Served::issued(authority, names, clock.now())
}

fn request_ids(clock: &Arc<dyn Clock>) -> Arc<dyn Fn() -> RequestId + Send + Sync> {
    let clock = Arc::clone(clock);
    Arc::new(move || RequestId::from_bits(random::id_bits(clock.now())))
}

fn access_log(config: &Config, ledger: &Arc<Ledger>) -> anyhow::Result<Option<AccessLog>> {
    if !config.access_log.enabled {
        return Ok(None);
    }
    let destination = match &config.access_log.path {
        LogTarget::Stdout => Destination::Stdout,
        LogTarget::File(_) => Destination::File(config.access_log_path().unwrap_or_default()),
    };
    let ledger = Arc::clone(ledger);
    let log = access_log::spawn(destination, move |lines| ledger.take(lines));
    Ok(Some(log.context("opening the access log")?))
}

fn count_dropped(
    registry: &Registry,
    ledger: &Arc<Ledger>,
    log: Option<&AccessLog>,
) -> prometheus::Result<()> {
    let Some(log) = log else {
        return Ok(());
    };
    let ledger = Arc::clone(ledger);
    Dropped::register(
        registry,
        vec![
            ("behind", Box::new(move || ledger.dropped())),
            ("unwritable", Box::new(log.lost_lines())),
        ],
    )
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
