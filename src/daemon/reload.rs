//! A reload: the new world is built beside the old and replaces it, or the old one stays and the reason is reported.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::json;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::addresses::Addresses;
use super::descriptors::Shares;
use super::drain::Course;
use super::gauges::Gauges;
use super::quotas::QuotaKeeper;
use super::registry_view::LiveRegistry;
use super::world::{self, Ground, World};
use super::{examine, status};
use crate::api::admin::operations::{
    Answer, ConfigProblem, DrainProgress, ListeningAt, Operations, ReloadRefusal, Reloaded, Status,
};
use crate::api::ops::health::Health;
use crate::config::load::Loaded;
use crate::config::problem::Problems;
use crate::config::root::Config;
use crate::control::server_certificates::ListenerCertificates;
use crate::control::service::Control;
use crate::control::{self, authority};
use crate::crypto::authority::Authority;
use crate::domain::admin::Actor;
use crate::domain::time::{Clock, Timestamp};
use crate::proxy::generations::Generations;
use crate::proxy::plane::Proxy;

/// The certificates that partners download to trust the authority.
pub fn ca_pem(authority: &Authority) -> Bytes {
    Bytes::copy_from_slice(authority.ca_pem().as_bytes())
}

/// The running process, with the parts that operators can change.
#[derive(Debug)]
pub struct Running {
    pub config_path: PathBuf,
    /// The configuration of the start, which still holds for settings that a reload does not change.
    pub started_with: Config,
    /// The configuration of the last reload, as operators see it.
    pub in_force: ArcSwap<Config>,
    /// The shares of the open files, set at the start.
    pub shares: Shares,
    pub control: Control,
    pub live: Arc<LiveRegistry>,
    /// The data plane's parts beside the snapshot.
    pub generations: Arc<ArcSwap<Generations>>,
    pub certificates: Arc<ListenerCertificates>,
    /// The certificates that partners download to trust the authority.
    pub ca_pem: Arc<ArcSwap<Bytes>>,
    pub gauges: Gauges,
    pub health: Arc<Health>,
    pub quotas: Arc<QuotaKeeper>,
    pub clock: Arc<dyn Clock>,
    pub started_at: Timestamp,
    pub proxy: Arc<Proxy>,
    /// Cancelled to drain the process.
    pub stopping: CancellationToken,
    /// The progress of the drain, once there is one.
    pub drain: Course,
    /// The number of the last generation, locked by a reload from its beginning to its end.
    pub reloading: Mutex<u64>,
    /// The addresses of the listeners; known when every listener is open.
    pub addresses: OnceLock<Addresses>,
}

impl Running {
    async fn reload_now(&self, allow_empty: bool) -> Result<Reloaded, ReloadRefusal> {
        let mut last = self.reloading.lock().await;
        let reloaded = self.replace(&mut last, allow_empty).await;
        match &reloaded {
            Ok(reloaded) => {
                let generation = reloaded.generation;
                if reloaded.restart_needed.is_empty() {
                    tracing::info!(generation, "reload done: the configuration is in force");
                } else {
                    tracing::warn!(
                        generation,
                        restart_needed = reloaded.restart_needed.join(", "),
                        "reload done: the configuration is in force except for settings that need a restart"
                    );
                }
            }
            Err(ReloadRefusal::Unconfirmed { generation }) => {
                self.gauges.reload_refused();
                tracing::error!(
                    generation,
                    "reload stored, not confirmed: the data plane did not answer in time"
                );
            }
            Err(ReloadRefusal::Refused { problems }) => {
                self.gauges.reload_refused();
                for problem in problems {
                    tracing::error!(
                        path = %problem.path,
                        line = problem.line,
                        message = %problem.message,
                        "reload refused: the old configuration stays in force"
                    );
                }
            }
        }
        reloaded
    }

    /// Replaces the configuration. `last` is the number of the last generation.
    async fn replace(&self, last: &mut u64, allow_empty: bool) -> Result<Reloaded, ReloadRefusal> {
        let Loaded { config, warnings } =
            examine::load_again(&self.config_path).map_err(|problems| refused(&problems))?;
        if !allow_empty {
            keeps_routes(&self.in_force.load(), &config)?;
        }
        examine::log_warnings(&warnings);
        let generation = *last + 1;
        let world = self
            .world(&config, generation)
            .map_err(|error| one(format!("{error:#}")))?;
        // From here on nothing is undone: the new parts stay, and the generation is used, even if the data plane does
        // not confirm it.
        *last = generation;
        let restart_needed = self.started_with.fixed().differences(&config.fixed());
        self.enter(world, config).await.map_err(|error| {
            tracing::error!(%error, generation, "a configuration was not confirmed");
            ReloadRefusal::Unconfirmed { generation }
        })?;
        let revision = self.control.publisher().current().revision;
        Ok(Reloaded {
            generation,
            revision,
            restart_needed,
        })
    }

    /// Builds everything that a configuration replaces. Nothing is replaced yet.
    fn world(&self, config: &Config, generation: u64) -> anyhow::Result<World> {
        let config = config.replaceable();
        let successor = self.successor()?;
        let ground = Ground {
            authority: successor.unwrap_or_else(|| self.control.authority()),
            registry: Arc::clone(&self.live) as _,
            clock: &*self.clock,
            listening: self.started_with.listeners.partners.address.0.ip(),
            catalog: world::catalog(&config, generation, &self.shares)?,
        };
        World::build(&config, &ground)
    }

    /// Puts a world in force. The order makes it whole for everyone:
    ///
    /// 1. The new generation stands beside the old one. Nothing names it yet. Partners may download the certificates
    ///    of a new authority, which contain those of the old one, before the gateway uses it.
    /// 2. The snapshot with the new catalogue replaces the old one, at one moment for all workers. Handshakes and
    ///    connections to upstreams go by the generation of the snapshot that they are made for.
    /// 3. Operators get the rest, each part at once. A new authority signs now that every handshake trusts it.
    /// 4. The old generation goes, unless the data plane may still decide by it.
    async fn enter(&self, world: World, config: Config) -> Result<(), control::error::Error> {
        let World {
            catalog,
            generation,
            shown,
            authority,
            profile,
        } = world;
        let both = self.generations.load().followed_by(generation);
        self.generations.store(Arc::new(both));
        self.ca_pem.store(Arc::new(ca_pem(&authority)));
        let published = self.control.publisher().set_catalog(catalog).await;
        let before = self.control.authority();
        self.control.sign_by(Arc::clone(&authority), profile);
        self.control
            .offer_scopes(config.replaceable().known_scopes());
        self.certificates.replace(shown);
        self.in_force.store(Arc::new(config));
        if published.is_ok() {
            let settled = self.generations.load().settled();
            self.generations.store(Arc::new(settled));
            self.gauges
                .reloaded(&self.in_force.load(), self.clock.now());
        }
        if !Arc::ptr_eq(&before, &authority) {
            self.succeeded(&before, &authority).await;
        }
        published.map(|_receipt| ())
    }

    /// The authority whose files have replaced those of the running one, if any have.
    fn successor(&self) -> anyhow::Result<Option<Arc<Authority>>> {
        let directory = self.started_with.authority_directory();
        let running = self.control.authority();
        let found = authority::successor(&directory, &running, &*self.clock)
            .with_context(|| format!("loading the authority from {}", directory.display()))?;
        Ok(found.map(Arc::new))
    }

    /// Completes the replacement of the authority. A successor that drops a trusted certificate has been refused before.
    async fn succeeded(&self, before: &Authority, authority: &Authority) {
        let (old, new) = (before.id(), authority.id());
        if let Err(error) = self.certificates.follow(authority, self.clock.now()) {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(error, "the admin listener keeps its old certificate");
        }
        tracing::info!(%old, %new, "authority replaced");
        let subject = new.to_string();
        let detail = json!({"succeeds": old.to_string()});
        let noted = self
            .control
            .note(&Actor::Gateway, "authority.replace", &subject, detail);
        if let Err(error) = noted.await {
            tracing::error!(%error, "the new authority could not be written to the audit trail");
        }
    }
}

impl Operations for Running {
    fn reload(&self, allow_empty: bool) -> Answer<'_, Result<Reloaded, ReloadRefusal>> {
        Box::pin(self.reload_now(allow_empty))
    }

    fn drain(&self) -> Answer<'_, ()> {
        self.stopping.cancel();
        Box::pin(async {})
    }

    fn drain_progress(&self) -> Answer<'_, DrainProgress> {
        Box::pin(self.drain.progress(|| self.proxy.load()))
    }

    fn status(&self) -> Answer<'_, Status> {
        let snapshot = self.control.publisher().current();
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: snapshot.revision,
            snapshot_version: snapshot.version,
            started_at: self.started_at,
            ready: self.health.is_ready(),
            draining: self.health.is_draining(),
            configuration: absolute(&self.config_path).display().to_string(),
            addresses: self
                .addresses
                .get()
                .map(ListeningAt::from)
                .unwrap_or_default(),
            ends: status::ends(&self.control.authority(), &self.certificates.ends()),
            upstreams: status::upstreams(&self.in_force.load()),
        };
        Box::pin(async move { status })
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Refuses a configuration without routes in place of one with some: a file that was cut short, or half written.
fn keeps_routes(running: &Config, next: &Config) -> Result<(), ReloadRefusal> {
    let count = |config: &Config| {
        config
            .hosts
            .values()
            .map(|host| host.routes.len())
            .sum::<usize>()
    };
    let (had, has) = (count(running), count(next));
    if has > 0 || had == 0 {
        return Ok(());
    }
    let problem = ConfigProblem {
        path: "hosts".to_owned(),
        line: None,
        column: None,
        message: format!(
            "no host has a route, and the running configuration has {had}: every call would be answered with 404"
        ),
        suggestion: Some("countersign reload --allow-empty, if that is meant".to_owned()),
    };
    Err(ReloadRefusal::Refused {
        problems: vec![problem],
    })
}

fn refused(problems: &Problems) -> ReloadRefusal {
    let number = |place: Option<usize>| place.and_then(|place| u64::try_from(place).ok());
    let problems = problems.0.iter().map(|problem| ConfigProblem {
        path: problem.path.clone(),
        line: number(problem.line),
        column: number(problem.column),
        message: problem.message.clone(),
        suggestion: problem.suggestion.clone(),
    });
    ReloadRefusal::Refused {
        problems: problems.collect(),
    }
}

fn one(message: String) -> ReloadRefusal {
    let problem = ConfigProblem {
        path: String::new(),
        line: None,
        column: None,
        message,
        suggestion: None,
    };
    ReloadRefusal::Refused {
        problems: vec![problem],
    }
}
