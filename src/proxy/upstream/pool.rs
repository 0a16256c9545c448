//! The connection pool of one worker to one upstream: its size, the choice of the next connection, and their idle time.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::balance::{self, EndpointLoad, Tried};
use super::connection::UpstreamConnection;
use super::connectors::Connectors;
use super::health::Health;
use super::http2::connection::{Http2, STREAMS_MAX};
use super::idle::{Choice, IdleList};
use super::tcp_options;
use crate::crypto::tls;
use crate::domain::cause::Cause;
use crate::domain::reason::Reason;
use crate::domain::upstream::{Protocol, Upstream};
use crate::net::dial::{Destination, DialError};
use crate::net::resolve::Resolver;
use crate::net::stream::Stream;
use crate::net::tls::ClientConfig;
use crate::net::turn;
use crate::proxy::messages::error::{Error, Side};

/// The connections to one upstream.
#[derive(Debug)]
pub struct Pool {
    upstream: RefCell<Arc<Upstream>>,
    endpoints: Vec<EndpointPool>,
    connectors: Arc<dyn Connectors>,
    /// The TLS configuration that was found last: exchanges of before a reload may still have to open a connection.
    connector: RefCell<Option<Arc<ClientConfig>>>,
    health: Arc<Health>,
    /// One permit for each exchange that may be under way.
    slots: Arc<Semaphore>,
    waiting: Cell<usize>,
    /// Connections that exist or are being opened.
    open: Cell<usize>,
    idle: Cell<usize>,
    sweeping: Cell<bool>,
    /// True if a connection was kept since the last sweep, which then wakes `sweeper`.
    unswept: Cell<bool>,
    sweeper: RefCell<Waker>,
}

#[derive(Debug)]
struct EndpointPool {
    tls: bool,
    /// The endpoint in the configuration's spelling.
    text: Arc<str>,
    destination: Destination,
    load: EndpointLoad,
    /// The index among the upstream's endpoints.
    place: usize,
    idle: IdleList,
    shared: RefCell<Vec<Rc<Http2>>>,
    /// The lock for opening an HTTP/2 connection, one at a time: those that wait for it can share it.
    opening: tokio::sync::Mutex<()>,
}

/// The right to one exchange with the upstream.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub fn new(
        upstream: &Arc<Upstream>,
        connectors: Arc<dyn Connectors>,
        health: Arc<Health>,
        resolver: &Resolver,
    ) -> Self {
        let endpoints = upstream.endpoints.iter().enumerate();
        let endpoints = endpoints.map(|(place, endpoint)| EndpointPool {
            place,
            text: endpoint.to_string().into(),
            tls: endpoint.tls,
            destination: Destination::new(resolver.name(&endpoint.host, endpoint.port))
                .proving(upstream.server_name.as_deref())
                .with(tcp_options::options(&upstream.tcp)),
            load: EndpointLoad::default(),
            idle: IdleList::default(),
            shared: RefCell::default(),
            opening: tokio::sync::Mutex::new(()),
        });
        let bound = upstream.pool.connections_max.clamp(1, CONNECTIONS_MAX);
        let slots = match upstream.protocol {
            Protocol::Http1 => bound,
            Protocol::Http2 => bound * STREAMS_MAX,
        };
        Self {
            endpoints: endpoints.collect(),
            connector: RefCell::new(connectors.of(upstream)),
            connectors,
            health,
            slots: Arc::new(Semaphore::new(slots)),
            waiting: Cell::new(0),
            open: Cell::new(0),
            idle: Cell::new(0),
            sweeping: Cell::new(false),
            unswept: Cell::new(false),
            sweeper: RefCell::new(Waker::noop().clone()),
            upstream: RefCell::new(Arc::clone(upstream)),
        }
    }

    /// True if this pool serves `upstream` in its present configuration.
    pub fn serves(&self, upstream: &Arc<Upstream>) -> bool {
        let mut known = self.upstream.borrow_mut();
        if Arc::ptr_eq(&known, upstream) {
            return true;
        }
        let same = **known == **upstream;
        if same {
            // The next comparison is by address again.
            *known = Arc::clone(upstream);
        }
        same
    }

    pub fn upstream(&self) -> Arc<Upstream> {
        Arc::clone(&self.upstream.borrow())
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Waits for the right to an exchange, in the order of the calls and within the upstream's limits.
    pub async fn admit(&self) -> Result<Slot, Error> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(Slot { _permit: permit });
        }
        let bounds = self.upstream().pool;
        if self.waiting.get() >= bounds.queue_max {
            return Err(Error::ours(Reason::UpstreamBusy).because("the queue is full"));
        }
        let _waiting = Counted::one_more(&self.waiting);
        let acquire = Arc::clone(&self.slots).acquire_owned();
        match tokio::time::timeout(bounds.queue_timeout, acquire).await {
            Ok(Ok(permit)) => Ok(Slot { _permit: permit }),
            Ok(Err(closed)) => Err(Error::ours(Reason::Internal).because(closed)),
            Err(elapsed) => Err(Error::ours(Reason::UpstreamBusy).because(elapsed)),
        }
    }

    /// A connection for one exchange: a kept one, as `choice` allows, or a new one to the first endpoint that takes
    /// connections.
    pub async fn lease(self: &Rc<Self>, slot: Slot, choice: Choice) -> Result<Lease, Error> {
        let mut slot = Some(slot);
        self.try_endpoints(async |place, endpoint, now| {
            let kept = self.take_idle(endpoint, choice, now);
            let (connection, rested) = match kept {
                Some((connection, rest)) => (connection, Some(rest)),
                None => (self.open_http1(endpoint).await?, None),
            };
            endpoint.load.begin();
            Ok(Lease {
                pool: Rc::clone(self),
                place,
                connection: Some(connection),
                rested,
                _slot: slot.take(),
            })
        })
        .await
    }

    /// A stream on an HTTP/2 connection, which other exchanges share.
    pub async fn lease_shared(
        self: &Rc<Self>,
        slot: Slot,
        fresh: bool,
    ) -> Result<SharedLease, Error> {
        let mut slot = Some(slot);
        self.try_endpoints(async |place, endpoint, _| {
            let (connection, reused) = self.share(endpoint, fresh).await?;
            endpoint.load.begin();
            connection.begin();
            Ok(SharedLease {
                pool: Rc::clone(self),
                place,
                connection,
                reused,
                _slot: slot.take(),
            })
        })
        .await
    }

    /// Tries up to three endpoints. A connection that cannot be opened is always safe to try elsewhere.
    async fn try_endpoints<T>(
        &self,
        mut attempt: impl AsyncFnMut(usize, &EndpointPool, Instant) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut tried = Tried::default();
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            let now = turn::now();
            let place = balance::choose(&self.endpoints, tried, now, balance::random);
            let Some((place, endpoint)) =
                place.and_then(|place| Some((place, self.endpoints.get(place)?)))
            else {
                break;
            };
            match attempt(place, endpoint, now).await {
                Ok(done) => return Ok(done),
                Err(error) if error.side == Side::Upstream => {
                    let now = Instant::now();
                    let newly = !endpoint.load.is_ejected(now);
                    self.health.ejected(place, endpoint.load.fail(now), newly);
                    tried.add(place);
                    let error = error.at(&endpoint.text);
                    self.health.failures.note(&error);
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::ours(Reason::UpstreamUnreachable).because("no endpoint")))
    }

    fn take_idle(
        &self,
        endpoint: &EndpointPool,
        choice: Choice,
        now: Instant,
    ) -> Option<(Box<UpstreamConnection>, Duration)> {
        let bounds = self.upstream.borrow().pool;
        let let_go = || self.idle_closed();
        let taken = endpoint.idle.take(choice, &bounds, now, let_go)?;
        self.idle.set(self.idle.get().saturating_sub(1));
        Some(taken)
    }

    async fn open_http1(&self, endpoint: &EndpointPool) -> Result<Box<UpstreamConnection>, Error> {
        // A slot in hand means that fewer than all connections are in use, so one too many must be idle.
        if self.open.get() >= self.upstream.borrow().pool.connections_max.max(1) {
            self.close_one_idle();
        }
        let opening = Counted::one_more(&self.open);
        // Boxed: dialling is rare, and every exchange would be as large as it.
        let stream = Box::pin(self.dial(endpoint)).await?;
        opening.keep();
        // Boxed, because it moves with every exchange.
        Ok(Box::new(UpstreamConnection::new(Box::new(stream))))
    }

    /// The newest TLS configuration for this upstream's settings.
    fn connector(&self) -> Option<Arc<ClientConfig>> {
        let newest = self.connectors.of(&self.upstream.borrow());
        let mut connector = self.connector.borrow_mut();
        if newest.is_some() {
            *connector = newest;
        }
        connector.clone()
    }

    async fn dial(&self, endpoint: &EndpointPool) -> Result<Stream, Error> {
        let upstream = self.upstream();
        let config = endpoint.tls.then(|| self.connector());
        let config = match config {
            Some(None) => {
                return Err(
                    Error::ours(Reason::Internal).because("the upstream has no TLS settings")
                );
            }
            Some(config) => config,
            None => None,
        };
        let opened = endpoint
            .destination
            .open(config, upstream.timeouts.connect)
            .await;
        match opened {
            Ok(stream) => {
                endpoint.load.succeed();
                self.health.takes_connections(endpoint.place);
                Ok(stream)
            }
            Err(error) => {
                let reason = match &error {
                    DialError::Tls(_) => Reason::UpstreamTls,
                    _ => Reason::UpstreamUnreachable,
                };
                let cause = dial_cause(&error);
                Err(Error::upstream(reason).by(cause).because(error))
            }
        }
    }

    async fn share(
        &self,
        endpoint: &EndpointPool,
        fresh: bool,
    ) -> Result<(Rc<Http2>, bool), Error> {
        if !fresh && let Some(connection) = self.shareable(endpoint) {
            return Ok((connection, true));
        }
        let time = self.upstream().timeouts.connect;
        let _turn = tokio::time::timeout(time, endpoint.opening.lock())
            .await
            .map_err(|late| {
                let error = Error::upstream(Reason::UpstreamUnreachable);
                error.by(Cause::ConnectTimeout).because(late)
            })?;
        // Even when none of them is wanted, dead ones must not fill the upstream's limit.
        let kept = self.shareable(endpoint);
        if !fresh && let Some(connection) = kept {
            return Ok((connection, true));
        }
        let upstream = self.upstream();
        if self.open.get() >= upstream.pool.connections_max.max(1)
            && let Some(connection) = endpoint.least_shared()
        {
            return Ok((connection, true));
        }
        let opening = Counted::one_more(&self.open);
        let stream = Box::pin(self.dial(endpoint)).await?;
        let opened = Http2::open(
            stream,
            endpoint.tls,
            upstream.timeouts.connect,
            &upstream.http,
        );
        let connection = Rc::new(Box::pin(opened).await?);
        opening.keep();
        endpoint.shared.borrow_mut().push(Rc::clone(&connection));
        Ok((connection, false))
    }

    /// The least used connection that has room, after a sweep of those that cannot be used any more.
    fn shareable(&self, endpoint: &EndpointPool) -> Option<Rc<Http2>> {
        let bounds = self.upstream.borrow().pool;
        let now = turn::now();
        endpoint.shared.borrow_mut().retain(|connection| {
            let kept = !connection.is_closed() && now - connection.opened < bounds.age_max;
            if !kept {
                self.closed();
            }
            kept
        });
        endpoint
            .least_shared()
            .filter(|connection| connection.has_room())
    }

    fn take_back(self: &Rc<Self>, place: usize, mut connection: Box<UpstreamConnection>) {
        let bounds = self.upstream.borrow().pool;
        let young = turn::now().saturating_duration_since(connection.opened) < bounds.age_max;
        let endpoint = self.endpoints.get(place);
        let Some(endpoint) = endpoint.filter(|_| young && self.idle.get() < bounds.idle_max) else {
            self.closed();
            return;
        };
        connection.rest();
        endpoint.idle.push(connection);
        self.idle.set(self.idle.get() + 1);
        self.sweep_later();
        if !self.unswept.replace(true) {
            self.sweeper.borrow().wake_by_ref();
        }
    }

    fn close_one_idle(&self) {
        let oldest = self
            .endpoints
            .iter()
            .filter_map(|endpoint| Some((endpoint.idle.oldest()?, endpoint)))
            .min_by_key(|(since, _)| *since);
        if let Some((_, endpoint)) = oldest {
            endpoint.idle.drop_oldest();
            self.idle_closed();
        }
    }

    fn closed(&self) {
        self.open.set(self.open.get().saturating_sub(1));
    }

    fn blame(&self, place: usize, error: Error) -> Error {
        match self.endpoints.get(place) {
            Some(endpoint) if error.side == Side::Upstream => error.at(&endpoint.text),
            _ => error,
        }
    }

    fn idle_closed(&self) {
        self.idle.set(self.idle.get().saturating_sub(1));
        self.closed();
    }

    /// Starts a sweep while connections are kept, so that they do not outlive their time without requests.
    fn sweep_later(self: &Rc<Self>) {
        if self.sweeping.replace(true) {
            return;
        }
        tokio::task::spawn_local(sweep(Rc::downgrade(self)));
    }

    /// Drops old and closed connections, and has `cx` woken when one closes; returns false when none is left.
    fn sweep(&self, cx: &mut Context<'_>) -> bool {
        let bounds = self.upstream.borrow().pool;
        let now = Instant::now();
        let mut left = false;
        for endpoint in &self.endpoints {
            let let_go = || self.idle_closed();
            endpoint.idle.sweep(cx, &bounds, now, let_go);
            endpoint.shared.borrow_mut().retain(|connection| {
                let quiet_for = connection.quiet_for(now);
                let kept = !connection.is_closed()
                    && quiet_for.is_none_or(|time| time < bounds.idle_timeout)
                    && now - connection.opened < bounds.age_max;
                if !kept {
                    self.closed();
                }
                kept
            });
            left |= !endpoint.idle.is_empty() || !endpoint.shared.borrow().is_empty();
        }
        left
    }
}

impl AsRef<EndpointLoad> for EndpointPool {
    fn as_ref(&self) -> &EndpointLoad {
        &self.load
    }
}

impl EndpointPool {
    fn least_shared(&self) -> Option<Rc<Http2>> {
        let shared = self.shared.borrow();
        shared
            .iter()
            .min_by_key(|connection| connection.in_flight())
            .map(Rc::clone)
    }
}

/// Sweeps kept connections: soon after a new one, then more and more seldom, and at each close.
async fn sweep(pool: Weak<Pool>) {
    let mut timer = pin!(tokio::time::sleep(SWEEP_MIN));
    let mut interval = SWEEP_MIN;
    poll_fn(|cx| {
        let Some(pool) = pool.upgrade() else {
            return Poll::Ready(());
        };
        pool.sweeper.borrow_mut().clone_from(cx.waker());
        let mut due = timer.as_mut().poll(cx).is_ready();
        if due {
            let rarest = (pool.upstream.borrow().pool.idle_timeout / 4).clamp(SWEEP_MIN, SWEEP_MAX);
            interval = if pool.unswept.take() {
                SWEEP_MIN
            } else {
                (2 * interval).min(rarest)
            };
        } else if pool.unswept.get() && interval > SWEEP_MIN {
            interval = SWEEP_MIN;
            due = true;
        }
        if !pool.sweep(cx) {
            pool.sweeping.set(false);
            return Poll::Ready(());
        }
        if due {
            timer.as_mut().reset(Instant::now() + interval);
            // Registers this task with the timer.
            let _not_yet = timer.as_mut().poll(cx);
        }
        Poll::Pending
    })
    .await;
}

/// A connection for one exchange alone. Dropped, it closes the connection.
#[derive(Debug)]
pub struct Lease {
    pool: Rc<Pool>,
    place: usize,
    /// `None` only while the lease is being dropped.
    connection: Option<Box<UpstreamConnection>>,
    /// The time for which it was kept; `None` if it is new.
    pub rested: Option<Duration>,
    _slot: Option<Slot>,
}

impl Lease {
    pub fn connection(&mut self) -> &mut UpstreamConnection {
        self.connection
            .as_mut()
            .expect("a lease has its connection until it is given up")
    }

    /// The error, with its endpoint.
    pub fn blame(&self, error: Error) -> Error {
        self.pool.blame(self.place, error)
    }

    /// The error, with its endpoint, and reported to operators, since it ends an exchange.
    pub fn fail(&self, error: Error) -> Error {
        let error = self.blame(error);
        self.pool.health.failures.note(&error);
        error
    }

    /// Learns the keep-alive time: the upstream has answered, or it had closed the connection before it could.
    pub fn learn(&self, answered: bool) {
        let Some((rest, endpoint)) = self.rested.zip(self.pool.endpoints.get(self.place)) else {
            return;
        };
        let keep_alive = &endpoint.idle.keep_alive;
        if answered {
            keep_alive.used_again();
        } else {
            keep_alive.closed_after(rest, turn::now());
        }
    }

    /// Keeps the connection for another exchange.
    pub fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.take_back(self.place, connection);
        }
    }

    /// Takes the connection out of the pool: it is a tunnel now. It is counted until the guard is dropped.
    pub fn into_connection(mut self) -> (Box<UpstreamConnection>, TunnelGuard) {
        let connection = self
            .connection
            .take()
            .expect("a lease has its connection until it is given up");
        (connection, TunnelGuard { lease: self })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(endpoint) = self.pool.endpoints.get(self.place) {
            endpoint.load.end();
        }
        if self.connection.take().is_some() {
            self.pool.closed();
        }
    }
}

/// Keeps a tunnel counted among the upstream's connections.
#[derive(Debug)]
pub struct TunnelGuard {
    lease: Lease,
}

impl Drop for TunnelGuard {
    fn drop(&mut self) {
        self.lease.pool.closed();
    }
}

/// A stream on a shared connection.
#[derive(Debug)]
pub struct SharedLease {
    pool: Rc<Pool>,
    place: usize,
    pub connection: Rc<Http2>,
    pub reused: bool,
    _slot: Option<Slot>,
}

impl SharedLease {
    /// The error, with its endpoint.
    pub fn blame(&self, error: Error) -> Error {
        self.pool.blame(self.place, error)
    }

    /// The error, with its endpoint, and reported to operators, since it ends an exchange.
    pub fn fail(&self, error: Error) -> Error {
        let error = self.blame(error);
        self.pool.health.failures.note(&error);
        error
    }
}

impl Drop for SharedLease {
    fn drop(&mut self) {
        self.connection.end();
        if let Some(endpoint) = self.pool.endpoints.get(self.place) {
            endpoint.load.end();
        }
        self.pool.sweep_later();
    }
}

fn dial_cause(error: &DialError) -> Cause {
    use std::io::ErrorKind as Kind;
    match error {
        DialError::Resolve(_) => Cause::NameUnknown,
        DialError::Timeout(_) => Cause::ConnectTimeout,
        DialError::Tls(error) => tls::upstream_cause(error),
        DialError::Connect(error) => match error.kind() {
            Kind::ConnectionRefused => Cause::ConnectRefused,
            Kind::TimedOut => Cause::ConnectTimeout,
            Kind::HostUnreachable | Kind::NetworkUnreachable => Cause::ConnectUnreachable,
            Kind::UnexpectedEof
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe => Cause::ConnectClosed,
            _ => Cause::ConnectFailed,
        },
    }
}

/// One more in a count, until dropped.
struct Counted<'c>(Option<&'c Cell<usize>>);

impl<'c> Counted<'c> {
    fn one_more(count: &'c Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(Some(count))
    }

    /// Leaves the count unchanged: another owner will lower it.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.set(count.get().saturating_sub(1));
        }
    }
}

/// Endpoints that one request tries before it is refused.
const ATTEMPTS_MAX: usize = 3;
/// A limit above the number of a worker's descriptors.
const CONNECTIONS_MAX: usize = 1 << 16;
/// The first sweep after a connection was kept; from then on at the latest it is watched.
const SWEEP_MIN: Duration = Duration::from_millis(50);
const SWEEP_MAX: Duration = Duration::from_secs(5);
