//! The data plane: one thread for each worker, the snapshot that all of them decide by, and its replacement.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime, RuntimeMetrics};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;

use crate::crypto::access_token::AccessTokens;
use crate::crypto::api_key::SecretHasher;
use crate::crypto::assertion::AssertionSigner;
use crate::crypto::dpop::proofs::Proofs;
use crate::domain::api_key::KeyUse;
use crate::domain::credential::Ended;
use crate::domain::id::KeyId;
use crate::domain::issuer::Source;
use crate::domain::quota::QuotaUse;
use crate::domain::record::Receipt;
use crate::domain::snapshot::{Catalog, Snapshot};
use crate::domain::time::{Clock, Timestamp};
use crate::net::http::ServerBounds;
use crate::net::log_limit::LogLimit;

use super::connections::live::Live;
use super::connections::seats::Seats;
use super::counters::local::{Buckets, Counters};
use super::credentials::failed_attempts::FailedAttempts;
use super::credentials::issuer_tokens::IssuerTokens;
use super::credentials::signatures::{Shared, Signatures};
use super::credentials::verifier::Verifier;
use super::downstream::date::Dates;
use super::generations::Generations;
use super::identity_headers::assertion::Assertions;
use super::intake::handover::{Arrival, Handed, Handover};
use super::intake::handshake::Leaves;
use super::intake::inlet::Inlet;
use super::local::LocalService;
use super::panics;
use super::report::closing::Closed;
use super::report::key_uses::KeyUses;
use super::report::ledger::Ledger;
use super::report::metrics::{Load, Metrics};
use super::report::record::Book;
use super::report::worker_metrics::WorkerMetrics;
use super::settings::Settings;
use super::upstream::health::Healths;
use super::upstream::upstreams::Upstreams;
use super::walk::connection;
use super::worker::Worker;

/// The parts that the data plane needs from outside.
#[derive(Debug)]
pub struct Wiring<'a> {
    pub live: Arc<ArcSwap<Snapshot>>,
    pub generations: Arc<ArcSwap<Generations>>,
    /// One for each worker, all of one address.
    pub listeners: Vec<std::net::TcpListener>,
    pub local: Arc<dyn LocalService>,
    pub hasher: Arc<SecretHasher>,
    pub proofs: Arc<Proofs>,
    pub signatures: Shared,
    pub access_tokens: Arc<AccessTokens>,
    /// The way of requests for newer keys of other issuers.
    pub missing_keys: mpsc::Sender<Source>,
    pub assertions: AssertionSigner,
    pub clock: Arc<dyn Clock>,
    pub ledger: Arc<Ledger>,
    /// The uses of quotas so far.
    pub quotas: Vec<QuotaUse>,
    pub registry: &'a prometheus::Registry,
}

/// The running data plane.
#[derive(Debug)]
pub struct Proxy {
    live: Arc<ArcSwap<Snapshot>>,
    healths: Healths,
    metrics: Metrics,
    buckets: Arc<Buckets>,
    workers: Vec<Handle>,
}

#[derive(Debug)]
struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    thread: JoinHandle<()>,
    runtime: RuntimeMetrics,
}

/// An order to a worker. The channel has no bound, because only the daemon sends: one for each change of its own.
#[derive(Debug)]
enum Order {
    /// Close the connections that use these, and return their number.
    End(Arc<[Ended]>, oneshot::Sender<u32>),
    /// Tell the uses of keys since the last such order.
    KeyUses(oneshot::Sender<Vec<(KeyId, KeyUse)>>),
    /// Send clients elsewhere, and serve them until they go.
    Leave,
    /// Accept no more connections, let the open ones finish, and cut the rest at the deadline.
    Drain(Instant),
}

/// The parts that move to a worker's thread; the rest is made there.
struct Plan {
    number: usize,
    settings: Arc<Settings>,
    live: Arc<ArcSwap<Snapshot>>,
    generations: Arc<ArcSwap<Generations>>,
    local: Arc<dyn LocalService>,
    hasher: Arc<SecretHasher>,
    proofs: Arc<Proofs>,
    signatures: Shared,
    access_tokens: Arc<AccessTokens>,
    missing_keys: mpsc::Sender<Source>,
    assertions: Arc<AssertionSigner>,
    clock: Arc<dyn Clock>,
    ledger: Arc<Ledger>,
    seats: Arc<Seats>,
    buckets: Arc<Buckets>,
    healths: Healths,
    metrics: Metrics,
}

impl Proxy {
    /// Starts a worker for each listener. Connections are taken from now on.
    pub fn start(settings: Settings, wiring: Wiring<'_>) -> io::Result<Self> {
        let metrics =
            Metrics::register(wiring.registry, &settings.app_label).map_err(io::Error::other)?;
        let healths = Healths::register(wiring.registry).map_err(io::Error::other)?;
        begin_series(&metrics, &healths, &wiring.live.load().catalog);
        let seats = Arc::new(Seats::new(&settings));
        let buckets = Arc::new(Buckets::new(settings.buckets_max));
        buckets.restore(&wiring.quotas);
        let settings = Arc::new(settings);
        let assertions = Arc::new(wiring.assertions);
        let count = wiring.listeners.len();
        let (handover, doors) = Handover::between(count, &metrics);
        let mut workers = Vec::with_capacity(count);
        for (number, (listener, handed)) in wiring.listeners.into_iter().zip(doors).enumerate() {
            let plan = Plan {
                number,
                settings: Arc::clone(&settings),
                live: Arc::clone(&wiring.live),
                generations: Arc::clone(&wiring.generations),
                local: Arc::clone(&wiring.local),
                hasher: Arc::clone(&wiring.hasher),
                proofs: Arc::clone(&wiring.proofs),
                signatures: wiring.signatures.clone(),
                access_tokens: Arc::clone(&wiring.access_tokens),
                missing_keys: wiring.missing_keys.clone(),
                assertions: Arc::clone(&assertions),
                clock: Arc::clone(&wiring.clock),
                ledger: Arc::clone(&wiring.ledger),
                seats: Arc::clone(&seats),
                buckets: Arc::clone(&buckets),
                healths: healths.clone(),
                metrics: metrics.clone(),
            };
            workers.push(start_worker(plan, listener, handover.clone(), handed)?);
        }
        Ok(Self {
            live: wiring.live,
            healths,
            metrics,
            buckets,
            workers,
        })
    }

    /// The uses of quotas in their windows at `now`.
    pub fn quotas_used(&self, now: Timestamp) -> Vec<QuotaUse> {
        self.buckets.quotas_used(now)
    }

    /// Puts a snapshot in force and closes the connections that use an ended credential.
    ///
    /// The snapshot first: a request that is being decided by the old one has registered its credentials with its
    /// worker before the worker reads the order, and every later request is decided by the new one.
    pub async fn publish(&self, snapshot: Arc<Snapshot>, ended: &[Ended]) -> Receipt {
        let version = snapshot.version;
        if !Arc::ptr_eq(&snapshot.catalog, &self.live.load().catalog) {
            begin_series(&self.metrics, &self.healths, &snapshot.catalog);
        }
        self.live.store(snapshot);
        self.order_end(version, ended.into()).await
    }

    /// Waits until every worker has answered that it decides by the snapshot in force.
    pub async fn confirm(&self) -> Receipt {
        let version = self.live.load().version;
        self.order_end(version, Arc::new([])).await
    }

    async fn order_end(&self, version: u64, ended: Arc<[Ended]>) -> Receipt {
        let mut answers = Vec::with_capacity(self.workers.len());
        for (number, worker) in self.workers.iter().enumerate() {
            let (answer, answered) = oneshot::channel();
            if worker
                .orders
                .send(Order::End(Arc::clone(&ended), answer))
                .is_ok()
            {
                answers.push((number, answered));
            }
        }
        gather(version, answers).await
    }

    /// The last uses of keys since the last call. A worker that is stuck tells its own the next time.
    pub async fn take_key_uses(&self) -> Vec<(KeyId, KeyUse)> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut answers = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (answer, answered) = oneshot::channel();
            if worker.orders.send(Order::KeyUses(answer)).is_ok() {
                answers.push(answered);
            }
        }
        let mut uses = Vec::new();
        for answered in answers {
            if let Ok(Ok(told)) = timeout_at(deadline, answered).await {
                uses.extend(told);
            }
        }
        uses
    }

    /// The metrics of the workers' runtimes, by the names of their threads.
    pub fn runtimes(&self) -> Vec<(String, RuntimeMetrics)> {
        let runtimes = self.workers.iter().enumerate();
        runtimes
            .map(|(number, worker)| (format!("worker-{number}"), worker.runtime.clone()))
            .collect()
    }

    /// The present load.
    pub fn load(&self) -> Load {
        self.metrics.load()
    }

    /// Sends clients elsewhere: every connection is served on, and is its client's last here.
    pub fn leave(&self) {
        for worker in &self.workers {
            // An error means that the worker has ended already.
            let _told = worker.orders.send(Order::Leave);
        }
    }

    /// Accepts no more connections; open ones may finish within `within`, and are cut then. Returns at once.
    pub fn drain(&self, within: Duration) {
        let deadline = Instant::now() + within;
        for worker in &self.workers {
            // An error means that the worker has ended already.
            let _told = worker.orders.send(Order::Drain(deadline));
        }
    }

    /// True if every worker has ended, which each does after [`Proxy::drain`].
    pub fn has_ended(&self) -> bool {
        self.workers
            .iter()
            .all(|worker| worker.thread.is_finished())
    }

    /// Waits until every worker has ended, which it does after [`Proxy::drain`]. Blocks its thread.
    #[cfg(test)]
    pub fn join(self) {
        for worker in self.workers {
            if worker.thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

/// Begins the series of all names in the configuration before the first request.
fn begin_series(metrics: &Metrics, healths: &Healths, catalog: &Catalog) {
    for upstream in catalog.upstreams.values() {
        healths.of(upstream);
    }
    for route in catalog.routes.routes() {
        for limit in &route.limits {
            metrics.begin_limit(limit.name().as_str());
        }
    }
}

/// Adds up the workers' answers in time. A stuck one is counted as silent: it decides by the new snapshot like all
/// others as soon as it moves, and later publications must not wait behind it without end.
async fn gather(version: u64, answers: Vec<(usize, oneshot::Receiver<u32>)>) -> Receipt {
    let deadline = Instant::now() + ANSWER_WITHIN;
    let mut receipt = Receipt {
        version,
        confirmed: true,
        workers: 0,
        workers_total: 0,
        connections_closed: 0,
    };
    for (worker, answered) in answers {
        match timeout_at(deadline, answered).await {
            Ok(Ok(closed)) => {
                receipt.workers += 1;
                receipt.workers_total += 1;
                receipt.connections_closed += closed;
            }
            // A worker that ended meanwhile has no connections left.
            Ok(Err(_ended)) => {}
            Err(_late) => {
                receipt.confirmed = false;
                receipt.workers_total += 1;
                tracing::error!(worker, version, "a worker is stuck: it did not answer");
            }
        }
    }
    receipt
}

fn start_worker(
    plan: Plan,
    listener: std::net::TcpListener,
    handover: Handover,
    handed: mpsc::Receiver<Handed>,
) -> io::Result<Handle> {
    let (orders, received) = mpsc::unbounded_channel();
    let (started, ready) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("worker-{}", plan.number))
        .spawn(move || match runtime(listener) {
            Ok((runtime, listener)) => {
                // The starter of this thread waits for the result, so it is there to receive it.
                let _heard = started.send(Ok(runtime.metrics()));
                let inlet = Inlet {
                    worker: plan.number,
                    listener,
                    handover,
                    handed,
                };
                runtime.block_on(work(worker(plan), inlet, received));
                // A resolver that hangs on a thread of the runtime's must not hold up the end.
                runtime.shutdown_background();
            }
            Err(error) => {
                let _heard = started.send(Err(error));
            }
        })?;
    let runtime = ready.recv().map_err(io::Error::other)??;
    Ok(Handle {
        orders,
        thread,
        runtime,
    })
}

fn runtime(listener: std::net::TcpListener) -> io::Result<(LocalRuntime, TcpListener)> {
    listener.set_nonblocking(true)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    let entered = runtime.enter();
    let listener = TcpListener::from_std(listener)?;
    drop(entered);
    Ok((runtime, listener))
}

fn worker(plan: Plan) -> Rc<Worker> {
    let settings = plan.settings;
    let counters = Rc::new(Counters::new(plan.buckets));
    let metrics = Rc::new(WorkerMetrics::new(plan.metrics));
    let failures = FailedAttempts::new(
        Rc::clone(&counters),
        settings.failed_authentication.allowance(),
    );
    Rc::new(Worker {
        server: ServerBounds {
            // Wider than the bounds that a request is read by: what exceeds those alone is refused with a reason.
            header_bytes_max: u32::try_from(
                settings.http.headers_bytes_max + settings.http.target_bytes_max + MARGIN_BYTES,
            )
            .unwrap_or(u32::MAX),
            headers_max: settings.http.headers_max + MARGIN_FIELDS,
            streams_max: settings.http.streams_max,
            resets_max: settings.http.resets_max,
            unsent_max: settings.http.unsent_max,
            unread: settings.timeouts.write_stall,
            discard: settings.discard,
            ..ServerBounds::default()
        },
        snapshot: plan.live,
        seats: plan.seats,
        local: plan.local,
        clock: plan.clock,
        upstreams: Upstreams::new(Arc::clone(&plan.generations) as _, plan.healths),
        generations: plan.generations,
        counters,
        verifier: Verifier::new(
            plan.hasher,
            plan.proofs,
            plan.access_tokens,
            failures,
            settings.verified_tokens_max,
            IssuerTokens::new(settings.verified_tokens_max, plan.missing_keys),
        ),
        signatures: Signatures::new(plan.signatures),
        held_bytes: Rc::default(),
        assertions: Assertions::new(plan.assertions),
        dates: Dates::default(),
        leaves: Leaves::default(),
        live: Rc::new(Live::default()),
        book: Rc::new(Book {
            ledger: plan.ledger,
            worker: plan.number,
            metrics: Rc::clone(&metrics),
        }),
        metrics,
        key_uses: KeyUses::default(),
        tasks: TaskTracker::new(),
        settings,
    })
}

/// A worker's life: connections and orders, until the order to drain.
async fn work(worker: Rc<Worker>, mut inlet: Inlet, mut orders: mpsc::UnboundedReceiver<Order>) {
    let deadline = loop {
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::End(ended, answer)) => end(&worker, &ended, answer),
                Some(Order::KeyUses(answer)) => tell_uses(&worker, answer),
                Some(Order::Leave) => worker.live.leave(),
                Some(Order::Drain(deadline)) => break deadline,
                // The sender of orders is gone: the process is ending.
                None => break Instant::now(),
            },
            arrival = inlet.next() => spawn(&worker, arrival),
        }
    };
    inlet.close(|arrival| spawn(&worker, arrival)).await;
    drain(&worker, deadline, orders).await;
}

fn tell_uses(worker: &Worker, answer: oneshot::Sender<Vec<(KeyId, KeyUse)>>) {
    // Uses that nobody waits for any more are lost: the next ones say more.
    let _heard = answer.send(worker.key_uses.take());
}

fn end(worker: &Worker, ended: &[Ended], answer: oneshot::Sender<u32>) {
    // The publisher may have stopped waiting; the connections are closed all the same.
    let _heard = answer.send(worker.live.end(ended));
}

static PANICKED: LogLimit = LogLimit::new();

fn spawn(worker: &Rc<Worker>, arrival: Arrival) {
    let remote = arrival.remote;
    let worker = Rc::clone(worker);
    let tasks = worker.tasks.clone();
    tasks.spawn_local(async move {
        let served = pin!(connection::serve(Rc::clone(&worker), arrival));
        if let Err(panic) = panics::caught(served).await {
            worker.metrics.all.panics.inc();
            let panic = panics::message(&*panic);
            if let Some(suppressed) = PANICKED.permit() {
                tracing::error!(%remote, panic, suppressed, "a connection panicked");
            }
        }
    });
}

/// Lets everything finish until the deadline, and cuts the rest. Orders to end credentials are still obeyed, and
/// another order to drain can only bring the deadline nearer.
async fn drain(worker: &Worker, mut deadline: Instant, mut orders: mpsc::UnboundedReceiver<Order>) {
    worker.live.end_all(Closed::Drain);
    worker.tasks.close();
    let mut connected = true;
    loop {
        tokio::select! {
            () = worker.tasks.wait() => return,
            () = sleep_until(deadline) => break,
            order = orders.recv(), if connected => match order {
                Some(Order::End(ended, answer)) => end(worker, &ended, answer),
                Some(Order::Drain(sooner)) => deadline = deadline.min(sooner),
                Some(Order::KeyUses(answer)) => tell_uses(worker, answer),
                Some(Order::Leave) => {}
                None => connected = false,
            },
        }
    }
    worker.live.cut_all(Closed::Drain);
    // Cut exchanges write their records; unfinished handshakes are dropped with the runtime.
    let _all_gone = timeout_at(deadline + LAST_WORDS, worker.tasks.wait()).await;
}

const MARGIN_BYTES: usize = 16 << 10;
const MARGIN_FIELDS: usize = 32;

/// The time in which cut connections may write their records.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The time limit for the workers' answers to a publication, which takes them milliseconds. Less than the control plane
/// waits for the receipt.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stuck_worker_does_not_hold_up_the_receipt_of_the_others() {
        let (answers, waiting): (Vec<_>, Vec<_>) = (0..4_usize)
            .map(|worker| {
                let (answer, answered) = oneshot::channel();
                (answer, (worker, answered))
            })
            .unzip();
        let mut answers = answers.into_iter();
        let stuck = answers.next();
        drop(answers.next());
        for (answer, closed) in answers.zip([2, 3]) {
            answer.send(closed).unwrap();
        }
        let begun = Instant::now();
        let receipt = gather(7, waiting).await;
        assert_eq!(
            (receipt.version, receipt.workers, receipt.connections_closed),
            (7, 2, 5)
        );
        assert!(!receipt.confirmed);
        assert_eq!(receipt.workers_total, 3, "one has ended");
        assert!(begun.elapsed() <= ANSWER_WITHIN + Duration::from_millis(10));
        drop(stuck);
    }
}
