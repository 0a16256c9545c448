//! A worker's open connections, by the credentials that are used on them, so that the end of a credential closes them.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::{Rc, Weak};

use foldhash::HashMap;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use crate::domain::credential::{CredentialId, Ended};
use crate::domain::id::KeyId;
use crate::domain::identity::{Bearer, Caller, TokenMark};
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;
use crate::domain::token_end::TokensOf;
use crate::net::turn;

use super::expiry::Expiry;
use super::last_token::LastToken;
use super::peer::Peer;
use super::seats::Seat;
use crate::proxy::identity_headers::identity_fields::IdentityFields;
use crate::proxy::messages::host::LastHost;
use crate::proxy::report::closing::Closed;
use crate::proxy::report::metrics::Open;
use crate::proxy::settings::Timeouts;

/// Credentials, Apps, tokens and sessions that may be used on one connection. A client that uses more has to open a new
/// connection, since each is remembered for as long as the connection lives.
const CREDENTIALS_MAX: usize = 512;

/// The number of them from which on the client is asked to connect again: a server that calls for many users, or
/// renews its token for days, loses no request.
const CREDENTIALS_LEAVE: usize = 256;

/// Sets of constant fields that a connection keeps: streams of one connection go to a few routes, or carry a few
/// tokens, in turns.
const FIELDS_KEPT_MAX: usize = 4;

/// The interval of looks at a connection with a running request: a wait that begins meanwhile ends later by no more
/// than this.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The connections of one worker.
#[derive(Debug, Default)]
pub struct Live {
    next: Cell<u64>,
    connections: RefCell<HashMap<u64, Weak<Connection>>>,
    by_credential: RefCell<HashMap<Ended, HashSet<u64>>>,
    /// True while clients are sent elsewhere.
    leaving: Cell<bool>,
    /// The reason to end new connections at once, if there is one.
    ending: Cell<Option<Closed>>,
}

/// The stage of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Open,
    /// Serves on, and sends its client elsewhere with the next answer.
    Leaving,
    /// Finishes running requests and takes no new ones.
    Ending(Closed),
    /// Ends now.
    Cut(Closed),
}

/// The next step of a connection's watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    LookAgain(Instant),
    End(Closed),
    Cut(Closed),
}

/// One open connection, shared by its exchanges and tunnels. It stays open until the last of them is done.
#[derive(Debug)]
pub struct Connection {
    pub peer: Peer,
    pub host: LastHost,
    pub last_token: LastToken,
    live: Rc<Live>,
    id: u64,
    stage: Cell<Stage>,
    changed: Notify,
    /// The time at which the connection left its first stage.
    ending_since: Cell<Option<Instant>>,
    /// The time limit for the first request.
    first_request_by: Instant,
    served: Cell<u32>,
    quarantined: Cell<u32>,
    running: Cell<u32>,
    /// True while a request's head has begun and not ended. Its own time is running, so the connection is not idle.
    heading: Cell<bool>,
    /// Answered requests whose rest is being discarded. Each has its own time limit.
    discarding: Cell<u32>,
    /// The time since which the client has something to take, in a place for each answer: progress on one stream does
    /// not excuse another that is held.
    unread: RefCell<Vec<Option<Unread>>>,
    progress: Cell<Instant>,
    used: RefCell<Vec<Ended>>,
    /// The tokens and sessions of the requests that run.
    held: RefCell<Vec<TokensOf>>,
    /// The key that was noted last as used, and the second.
    noted: Cell<Option<(KeyId, i64)>>,
    /// The constant fields of the last requests, the newest last.
    fields: RefCell<Vec<(FieldsFor, Rc<IdentityFields>)>>,
    _seat: Seat,
    _open: Open,
}

/// An answer's bytes that the client has not taken.
#[derive(Clone, Copy, Debug)]
struct Unread {
    since: Instant,
    /// The route's time limit for that; the listener's if it has none.
    within: Option<Duration>,
}

/// The key of a request's constant fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldsFor {
    pub snapshot: u64,
    /// The address in memory of the upstream's identity headers: within one snapshot, no other value can have it.
    pub identity_headers: usize,
    pub certificate: Option<crate::domain::id::CertificateId>,
    pub key: Option<KeyId>,
    /// The token, when there is one: its scopes may be fewer than its key's.
    pub token: Option<TokenMark>,
    pub host: http::HeaderValue,
}

impl Live {
    /// Registers a connection that has finished its handshake.
    pub fn open(
        self: &Rc<Self>,
        peer: Peer,
        seat: Seat,
        open: Open,
        first_request_by: Instant,
    ) -> Rc<Connection> {
        let id = self.next.get();
        self.next.set(id + 1);
        let now = Instant::now();
        let connection = Rc::new(Connection {
            peer,
            host: LastHost::default(),
            last_token: LastToken::default(),
            live: Rc::clone(self),
            id,
            stage: Cell::new(Stage::Open),
            changed: Notify::new(),
            ending_since: Cell::new(None),
            first_request_by,
            served: Cell::new(0),
            quarantined: Cell::new(0),
            running: Cell::new(0),
            held: RefCell::default(),
            heading: Cell::new(false),
            discarding: Cell::new(0),
            unread: RefCell::default(),
            progress: Cell::new(now),
            used: RefCell::default(),
            noted: Cell::new(None),
            fields: RefCell::default(),
            _seat: seat,
            _open: open,
        });
        self.connections
            .borrow_mut()
            .insert(id, Rc::downgrade(&connection));
        if self.leaving.get() {
            connection.leave();
        }
        if let Some(why) = self.ending.get() {
            connection.end(why);
        }
        connection
    }

    /// Sends the client of every connection elsewhere, while all of them are still served.
    pub fn leave(&self) {
        self.leaving.set(true);
        for connection in self.all() {
            connection.leave();
        }
    }

    /// Closes every connection on which one of `ended` is in use; returns the number of those that began to close by
    /// this.
    pub fn end(&self, ended: &[Ended]) -> u32 {
        let mut ids = HashSet::new();
        let by_credential = self.by_credential.borrow();
        for what in ended {
            let users = by_credential.get(what).into_iter().flatten().copied();
            ids.extend(users.map(|id| (id, matches!(what, Ended::Tokens(_)))));
        }
        drop(by_credential);
        let mut closed = 0;
        for (id, of_tokens) in ids {
            let connection = self.find(id);
            // A token belongs to a request. Many users may share the connection of a server, and the next request of
            // the one whose token has ended is refused.
            let connection = connection.filter(|known| !of_tokens || known.holds(ended));
            closed += connection.map_or(0, |known| u32::from(known.end(Closed::Ended)));
        }
        closed
    }

    /// Lets every connection finish its running requests, and take no new ones; those in a handshake, too.
    pub fn end_all(&self, why: Closed) {
        self.ending.set(Some(why));
        for connection in self.all() {
            connection.end(why);
        }
    }

    /// Cuts every connection.
    pub fn cut_all(&self, why: Closed) {
        for connection in self.all() {
            connection.cut(why);
        }
    }

    fn all(&self) -> Vec<Rc<Connection>> {
        let connections = self.connections.borrow();
        connections.values().filter_map(Weak::upgrade).collect()
    }

    fn find(&self, id: u64) -> Option<Rc<Connection>> {
        self.connections.borrow().get(&id).and_then(Weak::upgrade)
    }

    fn forget(&self, id: u64, used: &[Ended]) {
        let mut by_credential = self.by_credential.borrow_mut();
        for what in used {
            if let Some(ids) = by_credential.get_mut(what) {
                ids.remove(&id);
                if ids.is_empty() {
                    by_credential.remove(what);
                }
            }
        }
        self.connections.borrow_mut().remove(&id);
    }
}

impl Connection {
    /// Counts one more request, and returns the number of those before it.
    pub fn begin_request(&self) -> u32 {
        let served = self.served.get();
        self.served.set(served.saturating_add(1));
        served
    }

    /// True if a request was served before the one that is running.
    pub fn was_used(&self) -> bool {
        self.served.get() > 1
    }

    /// Notes that a request's head has begun, or that it has ended one way or the other.
    pub fn heading(&self, begun: bool) {
        self.heading.set(begun);
    }

    /// Notes that the rest of an answered request is being discarded, or no longer is.
    pub fn discarding(&self, begun: bool) {
        let count = self.discarding.get();
        self.discarding.set(if begun {
            count.saturating_add(1)
        } else {
            self.progress.set(turn::now());
            count.saturating_sub(1)
        });
    }

    /// Counts one more request with a refused certificate; returns their number with this one.
    pub fn count_quarantined(&self) -> u32 {
        let count = self.quarantined.get().saturating_add(1);
        self.quarantined.set(count);
        count
    }

    /// Remembers the proofs that were used here, including those that the route's policy did not require: a token may
    /// be bound to a certificate that its route does not require. Called without a pause after the snapshot that
    /// accepted the proofs was read: a publication after that finds the connection, and a proof that ended before was
    /// refused.
    ///
    /// Refuses when there is no room, since no request may run here that a publication could not find.
    pub fn remember(&self, caller: &Caller) -> Result<(), Reason> {
        if let Some(proof) = caller.certificate.proved() {
            self.remember_one(Ended::Credential(CredentialId::Certificate(proof.id)))?;
            self.remember_one(Ended::App(proof.app.id))?;
        }
        if let Some(bearer) = caller.bearer.proved() {
            if let Some(key) = bearer.key() {
                self.remember_one(Ended::Credential(CredentialId::Key(key)))?;
            }
            self.remember_one(Ended::App(bearer.app().id))?;
            if let Bearer::Token { claims, .. } = bearer {
                self.remember_one(Ended::Tokens(TokensOf::Token(claims.id)))?;
                if let Some(session) = &claims.session {
                    self.remember_one(Ended::Tokens(TokensOf::Session(session.id)))?;
                }
            }
        }
        Ok(())
    }

    /// True if a request runs by one of the tokens in `ended`.
    fn holds(&self, ended: &[Ended]) -> bool {
        let held = self.held.borrow();
        held.iter().any(|of| ended.contains(&Ended::Tokens(*of)))
    }

    fn remember_one(&self, what: Ended) -> Result<(), Reason> {
        let mut used = self.used.borrow_mut();
        if used.contains(&what) {
            return Ok(());
        }
        if used.len() >= CREDENTIALS_MAX {
            drop(used);
            self.end(Closed::Finished);
            return Err(Reason::Overloaded);
        }
        used.push(what);
        if used.len() == CREDENTIALS_LEAVE {
            self.leave();
        }
        let mut by_credential = self.live.by_credential.borrow_mut();
        by_credential.entry(what).or_default().insert(self.id);
        Ok(())
    }

    /// The constant fields of a request; `make` makes them if none of the last few requests had the same.
    pub fn fields(
        &self,
        wanted: FieldsFor,
        make: impl FnOnce() -> IdentityFields,
    ) -> Rc<IdentityFields> {
        let mut kept = self.fields.borrow_mut();
        if let Some((_, fields)) = kept.iter().rev().find(|(made_for, _)| *made_for == wanted) {
            return Rc::clone(fields);
        }
        let fresh = Rc::new(make());
        // Fields of another snapshot are never needed again.
        kept.retain(|(made_for, _)| made_for.snapshot == wanted.snapshot);
        if kept.len() >= FIELDS_KEPT_MAX {
            kept.remove(0);
        }
        // Most connections keep one, and many of them wait.
        kept.reserve_exact(1);
        kept.push((wanted, Rc::clone(&fresh)));
        fresh
    }

    /// True if the use of a key is to be noted: once a second for the key that is used again and again.
    pub fn notes(&self, key: KeyId, now: Timestamp) -> bool {
        let use_now = Some((key, now.unix_millis() / 1000));
        self.noted.replace(use_now) != use_now
    }

    /// Sends the client elsewhere with the next answer.
    fn leave(&self) {
        if self.stage.get() == Stage::Open {
            self.stage.set(Stage::Leaving);
            self.changed.notify_waiters();
        }
    }

    /// Lets the connection finish its running requests, and take no new ones; returns true if this is new to it. An
    /// ended credential outranks every other reason, because running requests have less time then.
    pub fn end(&self, why: Closed) -> bool {
        let news = match self.stage.get() {
            Stage::Open | Stage::Leaving => true,
            Stage::Ending(before) => why == Closed::Ended && before != Closed::Ended,
            Stage::Cut(_) => false,
        };
        if news {
            self.ending_since.set(Some(Instant::now()));
            self.stage.set(Stage::Ending(why));
            self.changed.notify_waiters();
        }
        news
    }

    /// Ends the connection at once, with everything that runs on it.
    pub fn cut(&self, why: Closed) {
        let why = match self.stage.get() {
            Stage::Ending(first) => first,
            Stage::Open | Stage::Leaving => why,
            Stage::Cut(_) => return,
        };
        self.stage.set(Stage::Cut(why));
        self.changed.notify_waiters();
    }

    /// True if the client has to open another connection for its next request.
    pub fn is_ending(&self) -> bool {
        self.stage.get() != Stage::Open
    }

    /// Waits until the stage is another than `seen`.
    pub async fn stage_after(&self, seen: Stage) -> Stage {
        loop {
            let changed = self.changed.notified();
            let stage = self.stage.get();
            if stage != seen {
                return stage;
            }
            changed.await;
        }
    }

    /// Waits until a tunnel on this connection has to end: at once when its credential has ended, and at the
    /// deadline when the gateway stops.
    pub async fn tunnel_over(&self) -> Closed {
        let mut seen = self.stage.get();
        loop {
            match seen {
                Stage::Cut(why) | Stage::Ending(why @ Closed::Ended) => return why,
                Stage::Open | Stage::Leaving | Stage::Ending(_) => {
                    seen = self.stage_after(seen).await;
                }
            }
        }
    }

    /// The time of the first look at a connection that was opened at `now`. Not at once: a timer that is due wakes the
    /// runtime, and nothing can have gone wrong yet.
    pub fn first_look(&self, now: Instant, timeouts: &Timeouts) -> Instant {
        let soon = now + LOOK_EVERY.min(timeouts.write_stall);
        self.first_request_by.min(soon)
    }

    /// The watchdog's step for this connection at `now`.
    pub fn watch(&self, now: Instant, timeouts: &Timeouts) -> Watch {
        let progress = self.progress.get();
        let discarding = self.discarding.get() > 0;
        let running = self.running.get() > 0 || discarding;
        // A first request whose head was refused is being discarded, and was not served.
        if self.served.get() == 0 && !discarding && now >= self.first_request_by {
            return Watch::Cut(Closed::Stalled);
        }
        let stalled = |unread: &Unread| {
            let within = unread.within.unwrap_or(timeouts.write_stall);
            now >= unread.since + within
        };
        if self.unread.borrow().iter().flatten().any(stalled) {
            return Watch::Cut(Closed::Stalled);
        }
        match (self.stage.get(), self.ending_since.get()) {
            (Stage::Ending(why), Some(since)) if !running || why == Closed::Ended => {
                let grace = match why {
                    Closed::Ended => timeouts.ended_grace,
                    _ => timeouts.finish_grace,
                };
                let end = since + grace;
                return if now >= end {
                    Watch::Cut(why)
                } else {
                    Watch::LookAgain(end)
                };
            }
            _ => {}
        }
        let next = if running || self.heading.get() {
            now + LOOK_EVERY.min(timeouts.write_stall)
        } else if self.served.get() == 0 {
            self.first_request_by
        } else {
            progress + timeouts.idle
        };
        if now < next {
            Watch::LookAgain(next)
        } else {
            Watch::End(Closed::Idle)
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.live.forget(self.id, &self.used.borrow());
    }
}

/// A request that runs on a connection, until its answer has been taken or given up.
#[derive(Debug)]
pub struct Running {
    connection: Rc<Connection>,
    /// Its place among the answers that have something unread.
    unread: Option<usize>,
    expiry: Cell<Expiry>,
    /// Its token, and the session of that.
    held: Cell<[Option<TokensOf>; 2]>,
    /// The time limit between two pieces of the answer, if the route has one.
    pause: Cell<Option<Duration>>,
}

impl Running {
    pub fn new(connection: Rc<Connection>) -> Self {
        connection.running.set(connection.running.get() + 1);
        Self {
            connection,
            unread: None,
            expiry: Cell::default(),
            held: Cell::default(),
            pause: Cell::default(),
        }
    }

    /// Holds the token of a request that is about to run, so that its end finds it.
    pub fn hold(&self, bearer: Option<&Bearer>) {
        let Some(Bearer::Token { claims, .. }) = bearer else {
            return;
        };
        let session = claims.session.as_ref();
        let session = session.map(|session| TokensOf::Session(session.id));
        let held = [Some(TokensOf::Token(claims.id)), session];
        self.held.set(held);
        self.connection
            .held
            .borrow_mut()
            .extend(held.into_iter().flatten());
    }

    /// Sets the limits of a permitted request: its expiry, and the route's time between two pieces of the answer.
    pub fn let_in(&self, expiry: Expiry, pause: Option<Duration>) {
        self.expiry.set(expiry);
        self.pause.set(pause);
    }

    pub fn expiry(&self) -> Expiry {
        self.expiry.get()
    }

    pub fn pause(&self) -> Option<Duration> {
        self.pause.get()
    }

    /// Notes that the client got a piece of the answer.
    pub fn gave(&mut self) {
        let now = turn::now();
        self.connection.progress.set(now);
        // Over HTTP/2 each stream has its own time limit, so that one that is held does not end the others.
        if self.unread.is_some() || self.connection.peer.http2 {
            return;
        }
        let fresh = Unread {
            since: now,
            within: self.pause.get(),
        };
        let mut unread = self.connection.unread.borrow_mut();
        let mut places = unread.iter_mut().enumerate();
        if let Some((place, free)) = places.find(|(_, unread)| unread.is_none()) {
            *free = Some(fresh);
            self.unread = Some(place);
        } else {
            self.unread = Some(unread.len());
            unread.push(Some(fresh));
        }
    }

    /// The reason of the connection's cut, if it was cut.
    pub fn cut(&self) -> Option<Reason> {
        match self.connection.stage.get() {
            Stage::Cut(why) => Some(why.reason()),
            Stage::Open | Stage::Leaving | Stage::Ending(_) => None,
        }
    }

    /// Notes that the client has taken all of it, and there is room for more.
    pub fn taken(&mut self) {
        let Some(place) = self.unread.take() else {
            return;
        };
        if let Some(unread) = self.connection.unread.borrow_mut().get_mut(place) {
            *unread = None;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.taken();
        self.connection.progress.set(turn::now());
        let running = self.connection.running.get();
        self.connection.running.set(running.saturating_sub(1));
        let mut held = self.connection.held.borrow_mut();
        for of in self.held.get().into_iter().flatten() {
            if let Some(place) = held.iter().position(|known| *known == of) {
                held.swap_remove(place);
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::*;
    use crate::domain::id::AppId;
    use crate::proxy::connections::peer::Origin;
    use crate::proxy::connections::seats::Seats;
    use crate::proxy::settings::Settings;

    fn open(live: &Rc<Live>) -> Rc<Connection> {
        let gauge = prometheus::IntGauge::new("open", "open").unwrap();
        let seats = Arc::new(Seats::new(&Settings::default()));
        let seat = seats.take(Open::new(gauge.clone())).unwrap();
        let peer = Peer {
            origin: Origin {
                address: IpAddr::from([192, 0, 2, 1]),
                trusted_hop: false,
            },
            leaf: None,
            policy: crate::domain::tls_policy::TlsPolicy::default(),
            sni: None,
            tls_version: "TLSv1.3",
            http2: false,
        };
        let first_request_by = Instant::now() + Timeouts::default().first_request;
        live.open(peer, seat, Open::new(gauge), first_request_by)
    }

    /// A connection for tests of other files.
    pub fn connection() -> Rc<Connection> {
        open(&Rc::new(Live::default()))
    }

    #[test]
    fn fields_are_made_once_for_the_last_few_callers_of_a_snapshot() {
        let live = Rc::new(Live::default());
        let connection = open(&live);
        let made = Cell::new(0);
        let ask = |snapshot: u64, identity_headers: usize| {
            let wanted = FieldsFor {
                snapshot,
                identity_headers,
                certificate: None,
                key: None,
                token: None,
                host: http::HeaderValue::from_static("a.test"),
            };
            connection.fields(wanted, || {
                made.set(made.get() + 1);
                IdentityFields::default()
            });
            made.get()
        };
        let in_turns: Vec<_> = [1, 2, 1, 3, 4, 2, 1]
            .map(|identity_headers| ask(1, identity_headers))
            .into();
        assert_eq!(in_turns, [1, 2, 2, 3, 4, 4, 4]);
        assert_eq!(ask(1, 5), 5, "the oldest goes");
        assert_eq!((ask(1, 2), ask(1, 1)), (5, 6));
        assert_eq!(ask(2, 2), 7, "another snapshot, other fields");
        assert_eq!(connection.fields.borrow().len(), 1);
    }

    #[test]
    fn only_connections_that_use_what_has_ended_are_closed() {
        let live = Rc::new(Live::default());
        let (one, other) = (open(&live), open(&live));
        let app = |bits| Ended::App(AppId::from_bits(bits));
        one.remember_one(app(1)).unwrap();
        one.remember_one(app(1)).unwrap();
        other.remember_one(app(2)).unwrap();
        assert_eq!(live.end(&[app(3)]), 0);
        assert_eq!(live.end(&[app(1), app(1)]), 1);
        assert_eq!(one.stage.get(), Stage::Ending(Closed::Ended));
        assert_eq!(other.stage.get(), Stage::Open);
        drop((one, other));
        assert_eq!(live.end(&[app(2)]), 0);
        assert!(
            live.by_credential.borrow().is_empty(),
            "nothing is kept of what has gone"
        );
    }

    #[test]
    fn a_connection_that_opens_while_draining_ends_at_once() {
        let live = Rc::new(Live::default());
        live.end_all(Closed::Drain);
        assert_eq!(open(&live).stage.get(), Stage::Ending(Closed::Drain));
    }

    #[test]
    fn what_leaves_is_served_like_what_is_open_until_it_ends() {
        let live = Rc::new(Live::default());
        let timeouts = Timeouts::default();
        let (one, broken) = (open(&live), open(&live));
        broken.cut(Closed::Failed);
        live.leave();
        assert_eq!(broken.stage.get(), Stage::Cut(Closed::Failed));
        for connection in [one, open(&live)] {
            assert_eq!(connection.stage.get(), Stage::Leaving);
            assert!(connection.is_ending());
            connection.begin_request();
            let soon = Instant::now() + timeouts.finish_grace * 2;
            let watched = connection.watch(soon, &timeouts);
            assert!(matches!(watched, Watch::LookAgain(_)), "{watched:?}");
            assert!(connection.end(Closed::Drain));
        }
    }

    #[test]
    fn an_ended_credential_outranks_every_other_end_and_counts_once() {
        let live = Rc::new(Live::default());
        let timeouts = Timeouts::default();
        for before in [Closed::Drain, Closed::Quarantine, Closed::Finished] {
            let connection = open(&live);
            connection.begin_request();
            let _running = Running::new(Rc::clone(&connection));
            let app = Ended::App(AppId::from_bits(1));
            connection.remember_one(app).unwrap();
            assert!(connection.end(before));
            assert!(!connection.end(Closed::Idle));
            let later = Instant::now() + timeouts.ended_grace * 2;
            assert!(matches!(
                connection.watch(later, &timeouts),
                Watch::LookAgain(_)
            ));
            assert_eq!(live.end(&[Ended::App(AppId::from_bits(1))]), 1);
            assert_eq!(connection.stage.get(), Stage::Ending(Closed::Ended));
            assert_eq!(live.end(&[Ended::App(AppId::from_bits(1))]), 0);
            assert!(!connection.end(Closed::Drain));
            let later = Instant::now() + timeouts.ended_grace;
            assert_eq!(
                connection.watch(later, &timeouts),
                Watch::Cut(Closed::Ended)
            );
        }
    }

    #[test]
    fn ended_tokens_close_a_connection_only_while_a_request_runs_on_it() {
        let live = Rc::new(Live::default());
        let connection = open(&live);
        let token = Ended::Tokens(TokensOf::Token(crate::domain::id::TokenId::from_bits(1)));
        connection.remember_one(token).unwrap();
        assert_eq!(live.end(&[token]), 0);
        assert!(!connection.is_ending());
        connection.begin_request();
        let other = Running::new(Rc::clone(&connection));
        assert_eq!(live.end(&[token]), 0, "another request runs");
        let running = Running::new(Rc::clone(&connection));
        let of = TokensOf::Token(crate::domain::id::TokenId::from_bits(1));
        running.held.set([Some(of), None]);
        connection.held.borrow_mut().push(of);
        drop(running);
        assert_eq!(live.end(&[token]), 0, "it has ended");
        let running = Running::new(Rc::clone(&connection));
        running.held.set([Some(of), None]);
        connection.held.borrow_mut().push(of);
        assert_eq!(live.end(&[token]), 1);
        assert_eq!(connection.stage.get(), Stage::Ending(Closed::Ended));
        drop((other, running));
    }

    #[test]
    fn what_could_not_be_found_again_is_refused() {
        let live = Rc::new(Live::default());
        let connection = open(&live);
        let app = |bits: usize| Ended::App(AppId::from_bits(bits as u128));
        for bits in 0..CREDENTIALS_MAX {
            let leaves = bits >= CREDENTIALS_LEAVE;
            assert_eq!(connection.is_ending(), leaves, "{bits}");
            assert_eq!(connection.remember_one(app(bits)), Ok(()));
        }
        let one_more = connection.remember_one(app(CREDENTIALS_MAX));
        assert_eq!(one_more, Err(Reason::Overloaded));
        assert_eq!(connection.stage.get(), Stage::Ending(Closed::Finished));
        assert_eq!(connection.remember_one(app(0)), Ok(()));
    }

    #[test]
    fn the_watchdog_knows_what_a_connection_waits_for() {
        let timeouts = Timeouts::default();
        let live = Rc::new(Live::default());
        let connection = open(&live);
        let now = Instant::now();
        let later = |span: Duration| connection.watch(now + span, &timeouts);

        assert!(matches!(later(Duration::ZERO), Watch::LookAgain(_)));
        assert_eq!(later(timeouts.first_request), Watch::Cut(Closed::Stalled));

        connection.begin_request();
        let mut running = Running::new(Rc::clone(&connection));
        assert!(
            matches!(later(timeouts.idle * 10), Watch::LookAgain(_)),
            "an upstream may take its time"
        );
        running.gave();
        assert_eq!(later(timeouts.write_stall * 2), Watch::Cut(Closed::Stalled));
        running.taken();
        assert!(matches!(
            later(timeouts.write_stall * 2),
            Watch::LookAgain(_)
        ));
        drop(running);

        assert!(matches!(later(timeouts.idle / 2), Watch::LookAgain(_)));
        assert_eq!(later(timeouts.idle * 2), Watch::End(Closed::Idle));
        connection.end(Closed::Ended);
        assert_eq!(later(timeouts.ended_grace * 2), Watch::Cut(Closed::Ended));
    }
}
