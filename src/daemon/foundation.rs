//! The foundation of a start: the parts that every later step takes.

use std::sync::Arc;

use prometheus::Registry;

use super::clock::SystemClock;
use super::descriptors::{self, Shares};
use super::gauges::Gauges;
use crate::config::root::Config;
use crate::domain::time::Clock;
use crate::telemetry::metrics::{self, BuildInfo};

/// The clock, the metrics, and the shares of the process.
#[derive(Debug)]
pub struct Foundation {
    pub clock: Arc<dyn Clock>,
    /// The number of the data plane's workers.
    pub workers: usize,
    /// The shares of the open files.
    pub shares: Shares,
    pub registry: Registry,
    pub gauges: Gauges,
}

impl Foundation {
    /// Raises the limit of open files, and registers the metrics of the process.
    pub fn lay(config: &Config) -> anyhow::Result<Self> {
        let workers = workers(config);
        let shares = Shares::of(config, workers, descriptors::raise());
        let registry = Registry::new();
        metrics::register(&registry, &build_info())?;
        let gauges = Gauges::register(&registry)?;
        Ok(Self {
            clock: Arc::new(SystemClock),
            workers,
            shares,
            registry,
            gauges,
        })
    }
}

fn workers(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    config
        .workers
        .map_or_else(cores, |workers| usize::from(workers.get()))
}

fn build_info() -> BuildInfo<'static> {
    BuildInfo {
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("COUNTERSIGN_REVISION").unwrap_or("unknown"),
        rustc: env!("CARGO_PKG_RUST_VERSION"),
        tls_provider: "aws-lc-rs",
    }
}
