//! The assembly of a gateway from its configuration: the one place that connects the rooms.
//!
//! The steps are the trust, the two planes in the world of the configuration, and the listeners for operators.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::ensure;
use arc_swap::ArcSwap;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::addresses::Addresses;
use super::control_plane::{ControlPlane, Publishing};
use super::data_plane::{DataPlane, First};
use super::drain::Course;
use super::foundation::Foundation;
use super::lock::Locks;
use super::operators::Operators;
use super::pump;
use super::quotas::QuotaKeeper;
use super::registry_view::LiveRegistry;
use super::reload::Running;
use super::sealing;
use super::store_check::StoreCheck;
use super::trust::Trust;
use super::world::{self, Ground, World};
use crate::api::ops::health::Health;
use crate::config::root::Config;
use crate::control::calendar::Calendar;
use crate::control::jobs::Care;
use crate::control::server_certificates::{ListenerCertificates, Shown};
use crate::crypto::authority::Authority;
use crate::crypto::tls::{self, ServerCertificates};
use crate::domain::snapshot::Catalog;
use crate::domain::time::Clock;
use crate::domain::tls_policy::TlsVersion;
use crate::net::tls::ServerConfig;
use crate::proxy::plane::Proxy;
use crate::store::repository::Store;
use crate::store::tickets::Tickets;
use crate::telemetry::access_log::AccessLog;

/// The number of the first generation.
const FIRST_GENERATION: u64 = 1;

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
    /// The periodic jobs.
    pub calendar: Arc<Calendar>,
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
    /// True if the start goes on without the signing keys that the sealing key does not open.
    pub without_signing_keys: bool,
}

/// Builds every room and opens the listeners. A part that cannot be trusted or opened is an error, and nothing serves.
pub async fn assemble(
    config: &Config,
    config_path: &Path,
    start: Start,
) -> anyhow::Result<Assembled> {
    let foundation = Foundation::lay(config)?;
    let (clock, registry) = (&foundation.clock, &foundation.registry);
    let trust = Trust::open(config, clock, registry, start.new_store)?;
    let kept = Kept::of(&trust);
    let (planes, shown) =
        Planes::connect(config, &foundation, trust, start.without_signing_keys).await?;
    let running = running(config, config_path, &foundation, &planes, &kept, shown)?;
    let calendar = calendar(&foundation, &running, kept)?;
    let closing = CancellationToken::new();
    let operators = Operators {
        config,
        admin_tls: admin_tls(running.certificates.admin())?,
        running: Arc::clone(&running),
        registry: foundation.registry,
        tasks: planes.tasks.clone(),
        closing: closing.clone(),
    };
    let (admin, ops) = operators.listen().await?;
    let addresses = Addresses {
        partners: planes.data_plane.address,
        admin,
        ops,
        socket: absolute(&config.admin_socket()),
    };
    // This is the only place that sets it.
    let _ = running.addresses.set(addresses.clone());
    Ok(Assembled {
        running,
        proxy: planes.data_plane.proxy,
        access_log: planes.data_plane.access_log,
        addresses,
        tasks: planes.tasks,
        closing,
        calendar,
        _locks: start.locks,
    })
}

/// The two planes, connected.
struct Planes {
    control_plane: ControlPlane,
    data_plane: DataPlane,
    view: Arc<LiveRegistry>,
    /// The tasks of the control plane.
    tasks: TaskTracker,
}

impl Planes {
    /// Builds the world of the configuration and starts both planes in it. Returns also the certificates that partners
    /// see.
    async fn connect(
        config: &Config,
        foundation: &Foundation,
        mut trust: Trust,
        without_signing_keys: bool,
    ) -> anyhow::Result<(Self, Shown)> {
        let created = std::mem::take(&mut trust.created);
        let catalog = world::catalog(&config.replaceable(), FIRST_GENERATION, &foundation.shares)?;
        let registry = &foundation.registry;
        let publishing = Publishing::start(&trust, Arc::clone(&catalog), registry).await?;
        let signing_texts = sealing::signing_texts(config)?;
        let first = publishing.live.load();
        let now = foundation.clock.now();
        sealing::check_snapshot(signing_texts.as_deref(), &first, without_signing_keys, now)?;
        drop(first);
        let view = publishing.view(&foundation.clock);
        let world = first_world(config, foundation, &trust, &view, catalog)?;

        let quotas = trust.store.quota_uses(foundation.clock.now())?;
        let (control_plane, uses_asked) = ControlPlane::connect(
            config,
            foundation,
            trust,
            &publishing,
            (world.profile, signing_texts),
        );
        let (missing_keys, missed) = mpsc::channel(pump::MISSED_MAX);
        let first = First {
            missing_keys,
            live: publishing.live,
            generation: world.generation,
            partner: control_plane.partner_service(config, foundation)?,
            quotas,
        };
        let data_plane = DataPlane::start(config, foundation, &control_plane, first)?;

        let tasks = TaskTracker::new();
        let pump = pump::pump(publishing.publications, Arc::clone(&data_plane.proxy));
        tasks.spawn(pump);
        let proxy = Arc::clone(&data_plane.proxy);
        tasks.spawn(pump::tell_key_uses(uses_asked, proxy));
        let published = Arc::clone(control_plane.control.published());
        let clock = Arc::clone(&foundation.clock);
        tasks.spawn(pump::ask_for_keys(missed, published, clock));
        // A worker that does not answer at the start will not serve.
        let confirmed = data_plane.proxy.confirm().await.confirmed;
        ensure!(confirmed, "a worker did not start in time");
        control_plane.note_created(&created).await?;
        let planes = Self {
            control_plane,
            data_plane,
            view,
            tasks,
        };
        Ok((planes, world.shown))
    }
}

/// The world of the start.
fn first_world(
    config: &Config,
    foundation: &Foundation,
    trust: &Trust,
    view: &Arc<LiveRegistry>,
    catalog: Arc<Catalog>,
) -> anyhow::Result<World> {
    let ground = Ground {
        authority: Arc::clone(&trust.authority),
        registry: Arc::clone(view) as _,
        clock: &*foundation.clock,
        listening: config.listeners.partners.address.0.ip(),
        catalog,
    };
    World::build(&config.replaceable(), &ground)
}

/// The process as operators see it, with its first gauges set.
fn running(
    config: &Config,
    config_path: &Path,
    foundation: &Foundation,
    planes: &Planes,
    kept: &Kept,
    shown: Shown,
) -> anyhow::Result<Arc<Running>> {
    let Foundation { clock, gauges, .. } = foundation;
    let control = &planes.control_plane.control;
    let admin = admin_shown(&control.authority(), &**clock, config.admin.address.0)?;
    let certificates = ListenerCertificates::new(shown, admin, control);
    let proxy = Arc::clone(&planes.data_plane.proxy);
    let quotas = QuotaKeeper::new(Arc::clone(&kept.store), proxy, Arc::clone(clock));
    gauges.reloaded(config, clock.now());
    Ok(Arc::new(Running {
        config_path: config_path.to_owned(),
        started_with: config.clone(),
        in_force: ArcSwap::from_pointee(config.clone()),
        shares: foundation.shares,
        control: control.clone(),
        live: Arc::clone(&planes.view),
        generations: Arc::clone(&planes.data_plane.generations),
        certificates: Arc::new(certificates),
        ca_pem: Arc::clone(&planes.control_plane.ca_pem),
        gauges: gauges.clone(),
        health: Arc::new(Health::default()),
        quotas: Arc::new(quotas),
        clock: Arc::clone(clock),
        started_at: clock.now(),
        proxy: Arc::clone(&planes.data_plane.proxy),
        stopping: CancellationToken::new(),
        drain: Course::default(),
        reloading: Mutex::new(FIRST_GENERATION),
        addresses: OnceLock::new(),
    }))
}

/// The persistent data that the periodic jobs take care of.
struct Kept {
    store: Arc<dyn Store>,
    tickets: Arc<dyn Tickets>,
}

impl Kept {
    fn of(trust: &Trust) -> Self {
        Self {
            store: Arc::clone(&trust.store),
            tickets: Arc::clone(&trust.tickets),
        }
    }
}

/// The periodic jobs: the control plane's, and the check of the store.
fn calendar(
    foundation: &Foundation,
    running: &Running,
    kept: Kept,
) -> anyhow::Result<Arc<Calendar>> {
    let check = StoreCheck {
        store: kept.store,
        health: Arc::clone(&running.health),
        gauges: running.gauges.clone(),
    };
    let care = Care {
        control: running.control.clone(),
        certificates: Arc::clone(&running.certificates),
        tickets: kept.tickets,
    };
    let mut jobs = vec![check.job(), running.quotas.job()];
    jobs.extend(care.jobs());
    let clock = Arc::clone(&foundation.clock);
    let calendar = Calendar::new(jobs, clock, &foundation.registry)?;
    Ok(Arc::new(calendar))
}

/// The certificate of the admin API, whose clients are operators and trust the gateway's authority.
fn admin_shown(
    authority: &Authority,
    clock: &dyn Clock,
    address: SocketAddr,
) -> anyhow::Result<Shown> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let own = address.ip();
    if !own.is_unspecified() && !own.is_loopback() {
        names.push(own.to_string());
    }
    Ok(Shown::issued(authority, names, clock.now())?)
}

fn admin_tls(certificates: &Arc<ServerCertificates>) -> anyhow::Result<Arc<ServerConfig>> {
    Ok(tls::server_config(
        Arc::clone(certificates),
        None,
        TlsVersion::V1_2,
        false,
    )?)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
