//! The life of the process after its start: signals, periodic jobs, and the order in which it stops.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sd_notify::NotifyState;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::assemble::Assembled;
use super::reload::Running;
use crate::api::admin::operations::{Operations as _, ReloadRefusal, Reloaded};
use crate::config;
use crate::domain::admin::Actor;
use crate::proxy::plane::Proxy;

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

/// Runs every periodic job, so that the first scrape has every series, and turns readiness on.
pub async fn start(assembled: &Assembled) {
    assembled.calendar.run_once().await;
    assembled.running.health.set_started();
}

/// Runs until a signal or an operator stops the process, and stops it: readiness first, then listeners, then running
/// requests.
pub async fn run(assembled: Assembled, mut signals: Signals, drain: Drain) -> anyhow::Result<()> {
    let running = Arc::clone(&assembled.running);
    tell_systemd(&[NotifyState::Ready]);
    let housekeeping = CancellationToken::new();
    let calendar = Arc::clone(&assembled.calendar);
    calendar.begin(&assembled.tasks, &housekeeping);
    serve(&assembled, &mut signals).await;
    leave(&assembled, drain);
    drained(&assembled, &mut signals, drain).await;
    housekeeping.cancel();
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
    keep_uses(running).await;
    tokio::select! {
        () = finish(proxy, drain) => {
            let requests_cut = proxy.load().requests_cut;
            tracing::info!(requests_cut, "drained");
            running.drain.end();
            running.drain.last_word().await;
        }
        () = signals.stop() => tracing::warn!("second stop signal: running requests are cut"),
    }
    keep_quotas(running).await;
}

/// Writes the uses of quotas after the last request. A store that hangs must not hold up the end.
async fn keep_quotas(running: &Running) {
    let written = tokio::time::timeout(Duration::from_secs(1), running.quotas.run());
    if !matches!(written.await, Ok(Ok(()))) {
        tracing::warn!("the uses of quotas could not be stored");
    }
}

/// Writes the last uses of keys, as far as they are known now. A store that hangs must not hold up the end.
async fn keep_uses(running: &Running) {
    let written = tokio::time::timeout(Duration::from_secs(1), running.control.write_key_uses());
    if !matches!(written.await, Ok(Ok(()))) {
        tracing::warn!("the last uses of keys could not be stored");
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
