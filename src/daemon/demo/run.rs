//! `countersign demo`: prepares the directory, starts the gateway and an upstream, and shows the tour.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::directory::{Directory, Listen};
use super::{prepare, tour};
use crate::api::client::AdminClient;
use crate::api::echo;
use crate::api::listen::{self, Listening};
use crate::api::partner::table;
use crate::config::load::{self, Layers};
use crate::daemon::addresses::Addresses;
use crate::daemon::assemble::{Assembled, Start, assemble};
use crate::daemon::lifecycle::{self, Drain, Signals};
use crate::daemon::lock::DirectoryLock;
use crate::daemon::serve::control_runtime;
use crate::net::listener;
use crate::net::tcp::TcpOptions;
use crate::telemetry::logging::{self, LogFormat, LogSettings};

/// The options of the demo.
#[derive(Debug)]
pub struct DemoOptions {
    pub dir: PathBuf,
    pub listen: SocketAddr,
    /// The address of the admin API and the metrics; the demo chooses one when absent.
    pub admin: Option<SocketAddr>,
    pub ops: Option<SocketAddr>,
    /// The URL of your own API; the echo when absent.
    pub upstream: Option<String>,
    /// True to run the tour and end.
    pub once: bool,
    pub output_json: bool,
}

/// Runs the demo; with `once`, returns true if every step of the tour succeeded.
pub fn demo(options: &DemoOptions) -> anyhow::Result<bool> {
    let _log = logging::start(&LogSettings {
        filter: "warn".to_owned(),
        format: LogFormat::Text,
    })?;
    let runtime = control_runtime()?;
    let held = runtime.block_on(show(options));
    runtime.shutdown_timeout(Duration::from_secs(1));
    held
}

async fn show(options: &DemoOptions) -> anyhow::Result<bool> {
    let signals = Signals::listen()?;
    let directory = Directory::open(&options.dir)?;
    // The lock comes before the configuration is written: another demo may run from the directory.
    let lock = DirectoryLock::take(directory.root())?;
    let upstream = match &options.upstream {
        Some(url) => url.clone(),
        None => start_echo()?,
    };
    // A partners' port of 0 allows any port for the other listeners too.
    let any_ports = options.listen.port() == 0;
    // The port is settled first, because tokens contain it. It stays taken until the gateway listens on it too.
    let settled =
        any_ports.then(|| listener::bind(options.listen, 1, true, &TcpOptions::default()));
    let settled = settled.transpose()?;
    let partners = match &settled {
        Some(listener) => listener.local_addr()?,
        None => options.listen,
    };
    let listen = Listen::settle(partners, options.admin, options.ops, any_ports);
    let prefix = match &options.upstream {
        Some(_) => "/",
        None => "/orders",
    };
    directory.write_config(listen, &upstream, prefix)?;
    let layers = Layers {
        endpoints: table::endpoints(),
        ..Layers::default()
    };
    let config =
        load::load(&directory.config(), &layers).map_err(|problems| anyhow!("{problems}"))?;
    let start = Start {
        locks: lock.with_store(&config.store_path())?,
        new_store: false,
        without_signing_keys: false,
    };
    let assembled = assemble(&config, &directory.config(), start).await?;
    drop(settled);
    lifecycle::start(&assembled).await;
    let ca_pem = assembled.running.control.authority().ca_pem().to_owned();
    prepare::prepare(&directory, &AdminClient::unix(&directory.socket()), &ca_pem).await?;

    // A demo has no load balancer before it.
    let drain = Drain {
        delay: Duration::ZERO,
        timeout: config.drain.timeout.get(),
    };
    if options.once {
        let held = take(&directory, &assembled.addresses, options).await;
        assembled.running.stopping.cancel();
        lifecycle::run(assembled, signals, drain).await?;
        return held;
    }
    if options.output_json {
        say(&ready_line(&directory, &assembled))?;
    } else {
        say(&tour::text(&directory, &assembled.addresses))?;
    }
    lifecycle::run(assembled, signals, drain).await?;
    Ok(true)
}

/// Starts an upstream on a port of its own that answers with the request that it got.
fn start_echo() -> anyhow::Result<String> {
    let listener = listener::bind(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        128,
        false,
        &TcpOptions::default(),
    )?;
    let address = listener.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let tasks = TaskTracker::new();
    let how = Listening::new(CancellationToken::new(), tasks.clone());
    tasks.spawn(listen::tcp(listener, None, echo::router(), how));
    Ok(format!("http://{address}"))
}

async fn take(
    directory: &Directory,
    addresses: &Addresses,
    options: &DemoOptions,
) -> anyhow::Result<bool> {
    let steps = tour::take(directory, addresses, options.upstream.is_none()).await?;
    for step in &steps {
        let line = if options.output_json {
            json!({ "step": step.what, "seen": step.seen, "held": step.held }).to_string()
        } else {
            format!(
                "{}  {}: {}",
                if step.held { "ok    " } else { "FAILED" },
                step.what,
                step.seen
            )
        };
        say(&line)?;
    }
    Ok(steps.iter().all(|step| step.held))
}

/// The values that a script needs to use the demo.
fn ready_line(directory: &Directory, assembled: &Assembled) -> String {
    let Addresses {
        partners,
        admin,
        ops,
        socket,
    } = &assembled.addresses;
    json!({
        "ready": true,
        "partners": partners,
        "admin": admin,
        "ops": ops,
        "socket": socket,
        "ca": directory.ca(),
        "client_certificate": directory.certificate(),
        "client_key": directory.certificate_key(),
        "server_key": directory.server_key(),
        "server_key_id": directory.server_key_id(),
        "admin_token": directory.admin_token(),
        "configuration": directory.config(),
    })
    .to_string()
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .context("writing to standard output")
}
