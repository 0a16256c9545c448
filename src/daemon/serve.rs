//! `countersign serve`: loads a configuration and serves until a signal or an operator stops the process.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;

use super::addresses::Addresses;
use super::assemble::{Start, assemble};
use super::examine;
use super::lifecycle::{self, Signals};
use super::lock::Locks;
use crate::config::logs::LogFormat as WrittenFormat;
use crate::config::problem::Problem;
use crate::config::root::Config;
use crate::telemetry::logging::{self, LogFormat, LogSettings};

/// The parameters of `serve`.
#[derive(Debug)]
pub struct ServeOptions {
    pub config: Config,
    /// The warnings of the configuration.
    pub warnings: Vec<Problem>,
    pub config_path: PathBuf,
    /// True if an empty store may be created beside an existing authority.
    pub new_store: bool,
    /// True if the start goes on without the signing keys that the sealing key does not open.
    pub without_signing_keys: bool,
    /// True for a ready line in JSON.
    pub output_json: bool,
}

/// Serves until a signal or an operator stops the process.
pub fn serve(options: &ServeOptions) -> anyhow::Result<()> {
    let _log = logging::start(&LogSettings {
        filter: options.config.log.level.as_str().to_owned(),
        format: match options.config.log.format {
            WrittenFormat::Json => LogFormat::Json,
            WrittenFormat::Text => LogFormat::Text,
        },
    })?;
    let ignored = &options.config.ignored_variables;
    if !ignored.is_empty() {
        tracing::warn!(
            variables = ignored.join(" "),
            "variables that Kubernetes sets for a Service are ignored; enableServiceLinks: false keeps them out"
        );
    }
    let start = Start {
        locks: Locks::take(&options.config)?,
        new_store: options.new_store,
        without_signing_keys: options.without_signing_keys,
    };
    examine::log_warnings(&options.warnings);
    let runtime = control_runtime()?;
    let served = runtime.block_on(async {
        let signals = Signals::listen()?;
        let assembled = assemble(&options.config, &options.config_path, start).await?;
        lifecycle::start(&assembled).await;
        say_ready(&assembled.addresses, options.output_json)?;
        lifecycle::run(assembled, signals, (&options.config.drain).into()).await
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    served
}

/// The runtime of everything but traffic; two threads, so that a slow answer to one operator does not delay another.
pub fn control_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("countersign-control")
        .enable_all()
        .build()
        .context("starting the control plane's threads")
}

/// Prints the one line on standard output that gives the addresses of the gateway.
fn say_ready(addresses: &Addresses, output_json: bool) -> anyhow::Result<()> {
    let Addresses {
        partners,
        admin,
        ops,
        socket,
    } = addresses;
    let line = if output_json {
        json!({ "ready": true, "partners": partners, "admin": admin, "ops": ops, "socket": socket })
            .to_string()
    } else {
        format!(
            "ready: partners {partners}, admin {admin}, ops {ops}, socket {}",
            socket.display()
        )
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("writing the ready line")
}
