//! The data plane of a start: the partners' listeners, the access log, and the workers.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use prometheus::Registry;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::control_plane::ControlPlane;
use super::dropped::Dropped;
use super::foundation::Foundation;
use super::local::Local;
use super::{access_lines, listeners, settings};
use crate::api::partner::service::PartnerService;
use crate::config::logs::LogTarget;
use crate::config::root::Config;
use crate::crypto::assertion::AssertionSigner;
use crate::domain::issuer::Source;
use crate::domain::quota::QuotaUse;
use crate::domain::snapshot::Snapshot;
use crate::proxy::credentials::signatures::Shared;
use crate::proxy::generations::{Generation, Generations};
use crate::proxy::plane::{Proxy, Wiring};
use crate::proxy::report::ledger::Ledger;
use crate::telemetry::access_log::{self, AccessLog, Destination};
use crate::telemetry::runtimes::Runtimes;

/// The workers, and the parts that outlive a request.
#[derive(Debug)]
pub struct DataPlane {
    pub proxy: Arc<Proxy>,
    /// The parts beside the snapshot.
    pub generations: Arc<ArcSwap<Generations>>,
    pub access_log: Option<AccessLog>,
    /// The address on which partners are listened for.
    pub address: SocketAddr,
}

/// The parts that the data plane starts with.
#[derive(Debug)]
pub struct First {
    pub live: Arc<ArcSwap<Snapshot>>,
    pub generation: Generation,
    pub partner: PartnerService,
    /// The uses of quotas so far.
    pub quotas: Vec<QuotaUse>,
    pub missing_keys: mpsc::Sender<Source>,
}

impl DataPlane {
    /// Opens the partners' listeners and starts the workers.
    pub fn start(
        config: &Config,
        foundation: &Foundation,
        control: &ControlPlane,
        first: First,
    ) -> anyhow::Result<Self> {
        let (listeners, address) =
            listeners::partners(&config.listeners.partners, foundation.workers)?;
        let ledger = ledger(config, foundation.workers);
        let generations = Generations::new(first.generation);
        let generations = Arc::new(ArcSwap::from_pointee(generations));
        let access_log = access_log(config, &ledger)?;
        count_dropped(&foundation.registry, &ledger, access_log.as_ref())?;
        let proxy = Proxy::start(
            settings::proxy(&config.fixed(), &foundation.shares),
            Wiring {
                live: first.live,
                generations: Arc::clone(&generations),
                listeners,
                local: Arc::new(Local::new(first.partner, Handle::current())),
                hasher: Arc::clone(&control.hasher),
                proofs: Arc::clone(&control.proofs),
                signatures: Shared {
                    texts: control.signing_texts.clone(),
                    published: Arc::clone(control.control.published()) as _,
                    seen: Arc::default(),
                },
                access_tokens: Arc::clone(&control.access_tokens),
                missing_keys: first.missing_keys,
                assertions: AssertionSigner::new(Arc::clone(&control.signer)),
                clock: Arc::clone(&foundation.clock),
                ledger,
                quotas: first.quotas,
                registry: &foundation.registry,
            },
        )
        .context("starting the workers")?;
        measure_runtimes(&foundation.registry, &proxy)?;
        Ok(Self {
            proxy: Arc::new(proxy),
            generations,
            access_log,
            address,
        })
    }
}

fn ledger(config: &Config, workers: usize) -> Arc<Ledger> {
    Arc::new(if config.access_log.enabled {
        Ledger::new(workers, access_lines::write)
    } else {
        Ledger::off()
    })
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

/// Registers the metrics of the workers' runtimes, and of the control plane's.
fn measure_runtimes(registry: &Registry, proxy: &Proxy) -> prometheus::Result<()> {
    let mut runtimes = proxy.runtimes();
    runtimes.push(("control".to_owned(), Handle::current().metrics()));
    Runtimes::register(registry, runtimes)
}
