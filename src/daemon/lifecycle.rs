//! The life of the process after its start: signals, periodic tasks, and the order in which it stops.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sd_notify::NotifyState;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::assemble::Assembled;
use super::gauges;
use super::reload::Running;
use crate::api::admin::operations::{Operations as _, ReloadRefusal, Reloaded};
use crate::config;
use crate::domain::admin::Actor;
use crate::proxy::plane::Proxy;
use crate::store::repository::Store;

/// The signals that the process handles.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
    reopen: Signal,
}

impl Signals {
    /// Replaces the default actions of these signals.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            reload: listen(SignalKind::hangup())?,
            reopen: listen(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.reload.recv() => Told::Reload,
            _ = self.reopen.recv() => Told::Reopen,
        }
    }

    async fn stop(&mut self) {
        while self.next().await != Told::Stop {}
    }
}

/// The meaning of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Reload,
    Reopen,
    Stop,
}

/// The delays of a stop.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// The time from the end of readiness to the closing of the listeners.
    pub delay: Duration,
    /// The time from there to the closing of the remaining connections.
    pub timeout: Duration,
}

impl From<&config::root::Drain> for Drain {
    fn from(written: &config::root::Drain) -> Self {
        Self {
            delay: written.delay.get(),
            timeout: written.timeout.get(),
        }
    }
}

/// Counts the current state, so that the first scrape has every series, and turns readiness on.
pub async fn start(assembled: &Assembled) {
    look_around(&assembled.running, &assembled.store).await;
    assembled.running.health.set_started();
}

/// Runs until a signal or an operator stops the process, and stops it: readiness first, then listeners, then running
/// requests.
pub async fn run(assembled: Assembled, mut signals: Signals, drain: Drain) -> anyhow::Result<()> {
    let running = Arc::clone(&assembled.running);
    tell_systemd(&[NotifyState::Ready]);
    let housekeeping = assembled.tasks.spawn(keep_house(
        Arc::clone(&running),
        Arc::clone(&assembled.store),
    ));
    serve(&assembled, &mut signals).await;
    leave(&assembled, drain);
    drained(&assembled, &mut signals, drain).await;
    housekeeping.abort();
    running.control.publisher().finish().await;
    close(assembled).await;
    Ok(())
}

/// Obeys signals until one of them, or an operator, stops the process.
async fn serve(assembled: &Assembled, signals: &mut Signals) {
    let running = &assembled.running;
    loop {
        let told = tokio::select! {
            told = signals.next() => told,
            // The admin API has recorded the operator who asked for it.
            () = running.stopping.cancelled() => return,
        };
        match told {
            Told::Stop => {
                let noted = note(running, "gateway.drain", json!({"by": "signal"}));
                assembled.tasks.spawn(noted);
                return;
            }
            Told::Reload => reload(assembled).await,
            Told::Reopen => {
                if let Some(log) = &assembled.access_log {
                    log.reopen();
                }
                tracing::info!("log files are reopened");
            }
        }
    }
}

async fn reload(assembled: &Assembled) {
    let running = &assembled.running;
    announce_reload();
    // The log and the metrics report a refusal already, and the old configuration stays in force.
    let reloaded = running.reload(false).await;
    tell_systemd(&[NotifyState::Ready]);
    let noted = note(running, "gateway.reload", told_of(&reloaded));
    assembled.tasks.spawn(noted);
}

/// Ends readiness, so that load balancers switch to others.
fn leave(assembled: &Assembled, drain: Drain) {
    let (delay_ms, timeout_s) = (drain.delay.as_millis(), drain.timeout.as_secs());
    tracing::info!(delay_ms, timeout_s, "draining");
    tell_systemd(&[NotifyState::Stopping]);
    assembled.running.health.set_draining();
    assembled.proxy.leave();
    assembled.running.drain.begin();
}

/// Waits until the running requests have ended, or a second signal cuts them.
async fn drained(assembled: &Assembled, signals: &mut Signals, drain: Drain) {
    let (running, proxy) = (&assembled.running, &assembled.proxy);
    tokio::select! {
        () = finish(proxy, drain) => {
            let requests_cut = proxy.load().requests_cut;
            tracing::info!(requests_cut, "drained");
            running.drain.end();
            running.drain.last_word().await;
        }
        () = signals.stop() => tracing::warn!("second stop signal: running requests are cut"),
    }
}

/// Closes the listeners for operators, ends the tasks, and writes the rest of the access log.
async fn close(assembled: Assembled) {
    assembled.closing.cancel();
    assembled.tasks.close();
    // The pump ends when there are no publishers left; the other tasks have had their time.
    let _left = tokio::time::timeout(Duration::from_secs(1), assembled.tasks.wait()).await;
    drop(assembled.access_log);
}

/// Records the effect of a signal. Only the end waits for it, for a moment: an unavailable store must not keep the
/// process from reloading or from stopping.
fn note(
    running: &Running,
    action: &'static str,
    detail: Value,
) -> impl Future<Output = ()> + Send + use<> {
    let control = running.control.clone();
    async move {
        let noted = control.note(&Actor::Gateway, action, "gateway", detail);
        if let Err(error) = noted.await {
            tracing::error!(%error, action, "an event could not be written to the audit trail");
        }
    }
}

fn told_of(reloaded: &Result<Reloaded, ReloadRefusal>) -> Value {
    match reloaded {
        Ok(reloaded) => json!({
            "by": "signal",
            "accepted": true,
            "generation": reloaded.generation,
            "restart_needed": reloaded.restart_needed,
        }),
        Err(ReloadRefusal::Unconfirmed { generation }) => json!({
            "by": "signal",
            "accepted": true,
            "confirmed": false,
            "generation": generation,
        }),
        Err(ReloadRefusal::Refused { problems }) => json!({
            "by": "signal",
            "accepted": false,
            "problems": problems.len(),
        }),
    }
}

/// Serves until load balancers have switched to others, and then drains.
async fn finish(proxy: &Proxy, drain: Drain) {
    tokio::time::sleep(drain.delay).await;
    proxy.drain(drain.timeout);
    ended(proxy).await;
}

/// Waits until every worker has ended.
async fn ended(proxy: &Proxy) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while !proxy.has_ended() {
        ticks.tick().await;
    }
}

/// Runs the periodic tasks as long as the process serves.
async fn keep_house(running: Arc<Running>, store: Arc<dyn Store>) {
    let mut ticks = tokio::time::interval(gauges::PERIOD);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        look_around(&running, &store).await;
    }
}

/// Counts the current state, checks the store, and renews certificates that end soon.
async fn look_around(running: &Running, store: &Arc<dyn Store>) {
    let now = running.clock.now();
    let store = Arc::clone(store);
    let asked = tokio::task::spawn_blocking(move || store.check()).await;
    let asked = asked.map_err(anyhow::Error::from);
    let asked = asked.and_then(|asked| asked.map_err(anyhow::Error::from));
    tell_of_store(running, asked);
    running.renew_served();
    if let Err(error) = running.control.forget_token_keys().await {
        tracing::warn!(%error, "expired token keys could not be removed");
    }
    let version = running.control.publisher().current().version;
    let version = i64::try_from(version).unwrap_or(i64::MAX);
    running.gauges.snapshot_version.set(version);
    match running.control.credential_counts(now).await {
        Ok(counts) => running.gauges.counted(&counts),
        Err(error) => tracing::warn!(%error, "credentials could not be counted"),
    }
}

fn tell_of_store(running: &Running, asked: anyhow::Result<()>) {
    let up = asked.is_ok();
    let was_up = running.health.set_store_up(up);
    running.gauges.store_is_up(up);
    match asked {
        Err(error) if was_up => {
            let error = format!("{error:#}");
            tracing::error!(
                error,
                "the store cannot be used: traffic flows, and changes are refused"
            );
        }
        Ok(()) if !was_up => tracing::info!("the store can be used again"),
        _ => {}
    }
}

/// Reports a reload to systemd, which needs the time of its beginning by its own clock.
fn announce_reload() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell_systemd(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no monotonic clock"),
    }
}

fn tell_systemd(states: &[NotifyState<'_>]) {
    // Without systemd there is nothing to notify.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be notified");
    }
}
