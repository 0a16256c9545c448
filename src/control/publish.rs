//! Store → Snapshot: the one way by which a change is stored, published and confirmed.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::draft::Draft;
use super::error::Error;
use super::metrics::ControlMetrics;
use super::waiting_ends::WaitingEnds;
use super::writer::{self, Asked, Plan, Queue, Stored, Waiting, Written};
use crate::domain::credential::Ended;
use crate::domain::issuer::FetchedSets;
use crate::domain::reason::Reason;
use crate::domain::record::Receipt;
use crate::domain::shelf::Shelf;
use crate::domain::snapshot::{Catalog, Snapshot, index};
use crate::domain::succession::{Entry, Succession};
use crate::domain::time::Timestamp;
use crate::domain::token::VerificationKey;
use crate::store::repository::{Contents, Store};

/// The time for which a change waits for the data plane. Workers answer within milliseconds; one that does not is
/// stuck, and the operator has to learn of it while still at the terminal.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// A snapshot on its way to the data plane.
#[derive(Debug)]
pub struct Publication {
    pub snapshot: Arc<Snapshot>,
    /// The credentials and Apps that ended with this snapshot: open connections on any of them are closed.
    pub ended: Vec<Ended>,
    /// The channel for the receipt, sent once every worker decides by the snapshot.
    pub receipt: oneshot::Sender<Receipt>,
}

/// The result of a stored change, with the receipt of its publication.
#[derive(Clone, Debug)]
pub struct Changed<T> {
    pub value: T,
    pub receipt: Receipt,
}

impl<T> Changed<T> {
    /// The same result, or a refusal if not every worker has confirmed it. It is for changes whose answer can be
    /// fetched again. A secret that is shown once goes to the operator, confirmed or not.
    pub(super) fn in_force(self, subject: impl Display) -> Result<Self, Error> {
        in_force(self.receipt, subject).map(|_| self)
    }

    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> Changed<U> {
        Changed {
            value: f(self.value),
            receipt: self.receipt,
        }
    }
}

fn in_force(receipt: Receipt, subject: impl Display) -> Result<Receipt, Error> {
    if receipt.confirmed {
        return Ok(receipt);
    }
    let silent = match receipt.workers_total {
        0 => "the data plane".to_owned(),
        total => format!("{} of {total} workers", total - receipt.workers),
    };
    Err(Error::new(
        Reason::Unconfirmed,
        format!("stored, not confirmed: {silent} did not answer in time about {subject}"),
    ))
}

/// The maker of snapshots. Cloning it is cheap; all clones are one publisher.
#[derive(Clone, Debug)]
pub struct Publisher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    live: ArcSwap<Snapshot>,
    /// The changes that wait for the state.
    queue: Queue,
    /// The ends of tokens that wait for it.
    ends: WaitingEnds,
    /// The state, locked from the reading for a change until its snapshot is sent, so that snapshots leave in the order
    /// of the revisions that they were made from.
    state: Mutex<State>,
    outlet: mpsc::Sender<Publication>,
    tasks: TaskTracker,
    /// Cancelled when no more publications will be sent.
    closing: CancellationToken,
    metrics: ControlMetrics,
}

#[derive(Debug)]
struct State {
    /// The store's revision in the newest snapshot.
    revision: u64,
    /// The ended credentials of snapshots that the data plane did not take; they go out with the next one. It grows by
    /// what an operator ends while nothing is confirmed, which is never much.
    owed: Vec<Ended>,
    /// True if the data plane did not take the newest snapshot.
    unsent: bool,
    /// True if a task waits to send it.
    retrying: bool,
}

impl Publisher {
    /// Loads the first snapshot. It is returned and not sent: the data plane starts with it.
    pub async fn start(
        store: Arc<dyn Store>,
        catalog: Arc<Catalog>,
        verification_keys: Arc<[VerificationKey]>,
        outlet: mpsc::Sender<Publication>,
        metrics: ControlMetrics,
    ) -> Result<(Self, Arc<Snapshot>), Error> {
        let contents = load(&store).await?;
        let revision = contents.revision;
        let first = Arc::new(build(1, contents, catalog, verification_keys));
        let inner = Inner {
            store,
            live: ArcSwap::new(Arc::clone(&first)),
            queue: Queue::default(),
            ends: WaitingEnds::default(),
            state: Mutex::new(State {
                revision,
                owed: Vec::new(),
                unsent: false,
                retrying: false,
            }),
            outlet,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            metrics,
        };
        let publisher = Self {
            inner: Arc::new(inner),
        };
        Ok((publisher, first))
    }

    /// The newest snapshot, in force or about to be.
    pub fn current(&self) -> Arc<Snapshot> {
        self.inner.live.load_full()
    }

    /// Publishes new routes and upstreams over the same registry.
    pub async fn set_catalog(&self, catalog: Arc<Catalog>) -> Result<Receipt, Error> {
        self.run(|inner| async move {
            let mut state = inner.state.lock().await;
            let current = inner.live.load_full();
            let snapshot = Snapshot {
                version: current.version + 1,
                catalog,
                ..Snapshot::clone(&current)
            };
            let version = snapshot.version;
            let waiting = inner.send(&mut state, snapshot, Vec::new()).await;
            drop(state);
            let subject = "the configuration";
            in_force(inner.confirm(waiting, version, subject).await, subject)
        })
        .await
    }

    /// Publishes other keys that verify tokens, with the same registry and routes.
    pub(super) async fn set_verification_keys(
        &self,
        verification_keys: Arc<[VerificationKey]>,
    ) -> Result<Receipt, Error> {
        self.run(|inner| async move {
            let mut state = inner.state.lock().await;
            let current = inner.live.load_full();
            let version = current.version + 1;
            let snapshot = Snapshot {
                version,
                verification_keys,
                ..Snapshot::clone(&current)
            };
            let waiting = inner.send(&mut state, snapshot, Vec::new()).await;
            drop(state);
            Ok(inner.confirm(waiting, version, "the token keys").await)
        })
        .await
    }

    /// Publishes the public keys of others that were fetched. A receipt that does not come harms nobody: a source may
    /// change at any time.
    pub(super) async fn set_published(&self, published: Arc<FetchedSets>) -> Result<(), Error> {
        self.run(|inner| async move {
            let mut state = inner.state.lock().await;
            let current = inner.live.load_full();
            let version = current.version + 1;
            let snapshot = Snapshot {
                version,
                published,
                ..Snapshot::clone(&current)
            };
            let waiting = inner.send(&mut state, snapshot, Vec::new()).await;
            drop(state);
            let _receipt = inner.confirm(waiting, version, "the published keys").await;
            Ok(())
        })
        .await
    }

    /// Publishes ends of tokens that are stored already, and waits for the receipt. Those that wait at the same time are
    /// published together.
    pub(super) async fn end_tokens(&self, ends: Vec<Entry>) -> Result<Receipt, Error> {
        let (receipt, waiting) = oneshot::channel();
        self.inner.ends.push(ends, receipt);
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn(inner.publish_ends());
        waiting
            .await
            .map_err(|error| Error::internal("the end is stored, and not published", error))
    }

    /// Forgets the ends of tokens that have expired at `now`.
    pub(super) async fn forget_ends(&self, now: Timestamp) {
        let mut state = self.inner.state.lock().await;
        let current = self.inner.live.load_full();
        let expired = current
            .token_ends
            .iter()
            .filter(|(_, until)| **until <= now);
        if expired.count() == 0 {
            return;
        }
        let left = current.token_ends.iter().filter(|(_, until)| **until > now);
        let snapshot = Snapshot {
            version: current.version + 1,
            token_ends: Shelf::build(left.map(|(of, until)| (*of, *until))),
            ..Snapshot::clone(&current)
        };
        // Nobody waits for it: an expired token is refused with or without its end.
        let _receipt = self.inner.send(&mut state, snapshot, Vec::new()).await;
    }

    /// Waits for the changes that have begun. The caller guarantees that no other begins.
    pub async fn finish(&self) {
        self.inner.closing.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Decides by the store, stores the decision, publishes it, and waits for the receipt. If none comes in time, the
    /// receipt says so, since a stored change cannot be taken back.
    ///
    /// `decide` may block, and may be asked again. Nothing changes between its reads and the store's keeping: neither
    /// here, where one group of changes at a time is decided, nor by another process, whose change moves the revision.
    pub(super) async fn commit<T: Send + 'static>(
        &self,
        decide: impl Fn(&Draft<'_>) -> Result<Plan<T>, Error> + Send + 'static,
    ) -> Result<Changed<T>, Error> {
        let stored = self.store(decide, true).await?;
        let receipt = stored.receipt.ok_or_else(|| {
            Error::internal("the change is stored, and not published", "no receipt")
        })?;
        Ok(Changed {
            value: stored.value,
            receipt,
        })
    }

    /// Stores a change and waits for no receipt: for changes that do not concern the data plane.
    pub(super) async fn record<T: Send + 'static>(
        &self,
        decide: impl Fn(&Draft<'_>) -> Result<Plan<T>, Error> + Send + 'static,
    ) -> Result<T, Error> {
        Ok(self.store(decide, false).await?.value)
    }

    /// Puts a change among those that wait. The first of them gets a task, which takes the others along. The task runs
    /// to the end even when the author leaves, since a stored change must be published too.
    async fn store<T: Send + 'static>(
        &self,
        decide: impl Fn(&Draft<'_>) -> Result<Plan<T>, Error> + Send + 'static,
        wants_receipt: bool,
    ) -> Result<Stored<T>, Error> {
        let (asked, answer) = Asked::new(decide, wants_receipt);
        if self.inner.queue.push(Box::new(asked)) {
            self.inner.begin_writing();
        }
        answer
            .await
            .map_err(|error| Error::internal("the change was not carried out", error))?
    }

    /// Runs to the end even when the caller leaves: a stored change must be published too.
    async fn run<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<T, Error> {
        let work = self.inner.tasks.spawn(work(Arc::clone(&self.inner)));
        work.await
            .map_err(|error| Error::internal("the change was not carried out", error))?
    }
}

/// A publication that is sent, and the changes that it is for.
struct Sent {
    version: u64,
    /// The subject of the first of the changes.
    subject: String,
    /// The number of changes with which something ended.
    endings: usize,
    began: Instant,
    waiting: Option<oneshot::Receiver<Receipt>>,
    authors: Vec<Author>,
}

/// An author who waits for the receipt of a publication.
struct Author {
    /// The change, until it is answered.
    change: Option<Box<dyn Waiting>>,
    /// True if something ended with the change.
    ended: bool,
}

impl Author {
    /// Answers. Connections are counted for all changes that were published together; one with which nothing ended has
    /// closed none.
    fn answer(mut self, receipt: Receipt) {
        let connections_closed = if self.ended {
            receipt.connections_closed
        } else {
            0
        };
        if let Some(change) = self.change.take() {
            change.finish(Some(Receipt {
                connections_closed,
                ..receipt
            }));
        }
    }
}

/// One that gets no receipt learns that the change is stored.
impl Drop for Author {
    fn drop(&mut self) {
        if let Some(change) = self.change.take() {
            change.finish(None);
        }
    }
}

impl Inner {
    fn begin_writing(self: &Arc<Self>) {
        self.tasks.spawn(Arc::clone(self).write_waiting());
    }

    /// Stores and publishes the changes that wait, as far as they are one group. Another task gets the rest.
    async fn write_waiting(self: Arc<Self>) {
        let mut state = self.state.lock().await;
        let (group, others_wait) = self.queue.take();
        if others_wait {
            self.begin_writing();
        }
        let known = state.revision;
        let written = blocking(&self.store, move |store| {
            Ok(writer::write(store, group, known))
        });
        let written = written.await.unwrap_or_else(|error| {
            // The authors learn it from their answers, which are closed.
            warn!(error = %error, "changes were not carried out");
            Vec::new()
        });
        let mut sent = Vec::new();
        for written in written {
            sent.extend(self.publish(&mut state, written).await);
        }
        drop(state);
        for sent in sent {
            self.confirm_sent(sent).await;
        }
    }

    /// Publishes the ends that wait. Does nothing if another task has taken them along.
    async fn publish_ends(self: Arc<Self>) {
        let mut state = self.state.lock().await;
        let (entries, authors) = self.ends.take();
        if authors.is_empty() {
            return;
        }
        let current = self.live.load_full();
        let mut succession = Succession::of(&current);
        succession.add(entries);
        let (snapshot, ended) = succession.finish(state.revision);
        let version = snapshot.version;
        let waiting = self.send(&mut state, snapshot, ended).await;
        drop(state);
        let receipt = self.confirm(waiting, version, "ended tokens").await;
        for author in authors {
            // An author who has left needs no receipt.
            let _ = author.send(receipt);
        }
    }

    /// Makes the snapshot after changes that are stored, and sends it. Nothing is sent if nobody has to learn of them.
    async fn publish(self: &Arc<Self>, state: &mut State, written: Written) -> Option<Sent> {
        let began = Instant::now();
        let current = self.live.load_full();
        let mut succession = Succession::of(&current);
        succession.add(written.foreign.into_iter().flat_map(|since| since.entries));
        if written.complete {
            state.revision = written.revision;
        }
        let (mut authors, mut endings, mut subject) = (Vec::new(), 0, None);
        for kept in written.changes {
            let ended = succession.add(kept.entries) > 0;
            endings += usize::from(ended);
            subject.get_or_insert(kept.subject);
            let change = kept.author;
            if change.wants_receipt() {
                authors.push(Author {
                    change: Some(change),
                    ended,
                });
            } else {
                change.finish(None);
            }
        }
        if succession.is_empty() && authors.is_empty() {
            return None;
        }
        let (snapshot, ended) = succession.finish(state.revision);
        let version = snapshot.version;
        let waiting = self.send(state, snapshot, ended).await;
        Some(Sent {
            version,
            subject: subject.unwrap_or_else(|| "changes by others".to_owned()),
            endings,
            began,
            waiting,
            authors,
        })
    }

    async fn confirm_sent(&self, sent: Sent) {
        let receipt = self.confirm(sent.waiting, sent.version, &sent.subject);
        let receipt = receipt.await;
        for _ in 0..sent.endings {
            self.metrics.propagated(sent.began.elapsed());
        }
        for author in sent.authors {
            author.answer(receipt);
        }
    }

    /// Sends the snapshot to the data plane; if the queue stays full, a task sends it later.
    async fn send(
        self: &Arc<Self>,
        state: &mut State,
        snapshot: Snapshot,
        ended: Vec<Ended>,
    ) -> Option<oneshot::Receiver<Receipt>> {
        let snapshot = Arc::new(snapshot);
        self.live.store(Arc::clone(&snapshot));
        state.owed.extend(ended);
        let place = timeout(CONFIRM_WITHIN, self.outlet.reserve()).await;
        let Ok(Ok(place)) = place else {
            state.unsent = true;
            if !std::mem::replace(&mut state.retrying, true) {
                self.tasks.spawn(Arc::clone(self).send_later());
            }
            return None;
        };
        Some(hand_over(place, snapshot, state))
    }

    /// Sends the newest snapshot as soon as the data plane takes publications again, unless a later change has sent it
    /// by then.
    async fn send_later(self: Arc<Self>) {
        loop {
            // The slot is released before the lock is taken, so that no change waits for a slot that is held here.
            let there_is_room = tokio::select! {
                place = self.outlet.reserve() => place.is_ok(),
                () = self.closing.cancelled() => false,
            };
            let mut state = self.state.lock().await;
            if !state.unsent || !there_is_room {
                state.retrying = false;
                return;
            }
            let Ok(place) = self.outlet.try_reserve() else {
                continue;
            };
            let snapshot = self.live.load_full();
            let version = snapshot.version;
            let waiting = hand_over(place, snapshot, &mut state);
            state.retrying = false;
            drop(state);
            let subject = "the outstanding snapshot";
            let receipt = self.confirm(Some(waiting), version, subject).await;
            if receipt.confirmed {
                info!(
                    version,
                    "the data plane has accepted the outstanding snapshot"
                );
            }
            return;
        }
    }

    async fn confirm(
        &self,
        waiting: Option<oneshot::Receiver<Receipt>>,
        version: u64,
        subject: &str,
    ) -> Receipt {
        let mut receipt = Receipt {
            version,
            confirmed: false,
            workers: 0,
            workers_total: 0,
            connections_closed: 0,
        };
        if let Some(waiting) = waiting
            && let Ok(Ok(answered)) = timeout(CONFIRM_WITHIN, waiting).await
        {
            receipt = answered;
        }
        if !receipt.confirmed {
            let workers = receipt.workers;
            warn!(%subject, version, workers, "data plane did not confirm a snapshot in time");
            self.metrics.unconfirmed();
        }
        receipt
    }
}

/// Puts a snapshot into its slot in the queue, with all ended credentials that the data plane has not got yet.
fn hand_over(
    place: mpsc::Permit<'_, Publication>,
    snapshot: Arc<Snapshot>,
    state: &mut State,
) -> oneshot::Receiver<Receipt> {
    let (receipt, waiting) = oneshot::channel();
    place.send(Publication {
        snapshot,
        ended: std::mem::take(&mut state.owed),
        receipt,
    });
    state.unsent = false;
    waiting
}

/// Runs a query on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    store: &Arc<dyn Store>,
    query: impl FnOnce(&dyn Store) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let store = Arc::clone(store);
    tokio::task::spawn_blocking(move || query(&*store))
        .await
        .map_err(|error| Error::internal("the operation was not carried out", error))?
}

async fn load(store: &Arc<dyn Store>) -> Result<Contents, Error> {
    blocking(store, |store| Ok(store.load()?)).await
}

fn build(
    version: u64,
    contents: Contents,
    catalog: Arc<Catalog>,
    verification_keys: Arc<[VerificationKey]>,
) -> Snapshot {
    Snapshot {
        version,
        revision: contents.revision,
        catalog,
        apps: contents.apps,
        certificates: contents.certificates,
        key_index: index(&contents.keys),
        keys: contents.keys,
        verification_keys,
        published: Arc::default(),
        token_ends: contents.token_ends,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::app_settings::AppPatch;
    use crate::control::apps::NewApp;
    use crate::control::audit::event;
    use crate::control::testing::{ACTOR, CSR, Fixture, Told, catalog, confirm_all};
    use crate::domain::app::{App, AppState};
    use crate::domain::id::AppId;
    use crate::domain::patch::Patch;
    use crate::domain::registry::apps;
    use crate::domain::time::Timestamp;
    use crate::store::act::Act;
    use crate::store::sqlite::backend::SqliteStore;
    use serde_json::json;

    #[tokio::test]
    async fn what_is_published_is_what_the_store_holds() {
        let fixture = Fixture::new().await;
        fixture.app("acme").await;
        fixture.app("other").await;
        fixture.key("acme", "a").await;
        let (key, _) = fixture.key("other", "b").await;
        let overlap = Duration::from_hours(1);
        let rotated = fixture.control.rotate_key(&ACTOR, key.id, overlap).await;
        rotated.unwrap();
        fixture.sign("acme", "prod", CSR).await.unwrap();
        fixture.control.suspend_app(&ACTOR, "other").await.unwrap();
        let (told, _) = fixture.last_told();
        let contents = fixture.store.load().unwrap();
        let fresh = build(1, contents, catalog(1), Arc::new([]));
        assert_eq!(told.revision, fresh.revision);
        assert_eq!(told.version, 8);
        assert_eq!(told.apps, fresh.apps);
        assert_eq!(told.keys, fresh.keys);
        assert_eq!(told.certificates, fresh.certificates);
    }

    #[tokio::test]
    async fn a_change_shares_all_that_stayed_the_same() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        let before = fixture.snapshot();
        fixture.key("acme", "").await;
        let after = fixture.snapshot();
        let shared = |a: &Snapshot, b: &Snapshot| {
            Arc::ptr_eq(a.apps.get(&app.id).unwrap(), b.apps.get(&app.id).unwrap())
        };
        assert!(shared(&before, &after));
        assert!(Arc::ptr_eq(&before.catalog, &after.catalog));
    }

    #[tokio::test]
    async fn a_new_catalog_keeps_the_registry() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        let receipt = fixture.control.publisher().set_catalog(catalog(2)).await;
        let snapshot = fixture.snapshot();
        assert_eq!(receipt.unwrap().version, snapshot.version);
        assert_eq!(snapshot.catalog.generation, 2);
        assert!(snapshot.active_app(app.id).is_ok());
    }

    #[tokio::test]
    async fn what_others_wrote_to_the_store_is_published_with_the_next_change() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        let mut event = fixture.last_event().await;
        event.id = crate::domain::id::AuditEventId::from_bits(1);
        let asleep = apps::set_state(app.clone(), AppState::Suspended).unwrap();
        let act = Act {
            changes: vec![asleep.into()],
            event,
        };
        let revision = fixture.store.revision().unwrap();
        fixture.store.change(revision, &[act]).unwrap();
        assert!(fixture.snapshot().active_app(app.id).is_ok());
        fixture.app("other").await;
        let (snapshot, ended) = fixture.last_told();
        assert_eq!(
            snapshot.active_app(app.id).unwrap_err(),
            Reason::AppSuspended
        );
        assert_eq!(ended, [Ended::App(app.id)]);
        assert_eq!(snapshot.revision, fixture.store.revision().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_data_plane_is_reported_and_the_change_is_kept() {
        let (outlet, mut publications) = mpsc::channel(1);
        let fixture = Fixture::with_outlet(outlet, Told::default()).await;
        let new = |name: &str| NewApp {
            name: name.parse().unwrap(),
            contact: None,
        };
        let refused = fixture.control.create_app(&ACTOR, new("acme")).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.reason, Reason::Unconfirmed);
        assert!(refused.detail.starts_with("stored, not confirmed"));
        let app = fixture.control.app("acme").await.unwrap();

        // The queue is full now, so the data plane gets nothing; the ended credentials wait for the next snapshot.
        let key = crate::control::testing::new_key("acme", "");
        let key = fixture.control.create_key(&ACTOR, key).await.unwrap();
        assert!(!key.receipt.confirmed);
        let suspended = fixture.control.suspend_app(&ACTOR, "acme").await;
        assert_eq!(suspended.unwrap_err().reason, Reason::Unconfirmed);
        // As soon as there is room it gets them, without another change.
        drop(publications.recv().await);
        let (snapshot, ended) = {
            let publication = publications.recv().await.unwrap();
            (publication.snapshot, publication.ended)
        };
        assert_eq!(ended, [Ended::App(app.id)]);
        assert_eq!(
            snapshot.active_app(app.id).unwrap_err(),
            Reason::AppSuspended
        );
        assert_eq!(snapshot.version, fixture.snapshot().version);
        assert_eq!(snapshot.keys.iter().count(), 1);
        // It gets them once.
        let told = confirm_all(publications);
        let other = fixture.control.create_app(&ACTOR, new("other")).await;
        other.unwrap();
        let told = told.lock().unwrap();
        let versions: Vec<u64> = told.iter().map(|(told, _)| told.version).collect();
        assert_eq!(versions, [snapshot.version + 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_change_takes_along_what_was_not_taken() {
        let (outlet, mut publications) = mpsc::channel(1);
        let fixture = Fixture::with_outlet(outlet, Told::default()).await;
        for name in ["one", "two"] {
            let new = NewApp {
                name: name.parse().unwrap(),
                contact: None,
            };
            let refused = fixture.control.create_app(&ACTOR, new).await;
            assert_eq!(refused.unwrap_err().reason, Reason::Unconfirmed);
        }
        // Publications are taken and confirmed in order; the second one was waiting to be sent.
        publications.recv().await.unwrap();
        let told = confirm_all(publications);
        fixture.app("three").await;
        let told = told.lock().unwrap().clone();
        let (last, _) = told.last().unwrap();
        assert_eq!(last.apps.iter().count(), 3);
        let versions: Vec<u64> = told.iter().map(|(told, _)| told.version).collect();
        let in_order: std::collections::BTreeSet<u64> = versions.iter().copied().collect();
        assert_eq!(versions, Vec::from_iter(in_order), "each once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_does_not_hold_up_the_end() {
        let (outlet, publications) = mpsc::channel(1);
        let fixture = Fixture::with_outlet(outlet, Told::default()).await;
        for name in ["one", "two"] {
            let new = NewApp {
                name: name.parse().unwrap(),
                contact: None,
            };
            let refused = fixture.control.create_app(&ACTOR, new).await;
            assert_eq!(refused.unwrap_err().reason, Reason::Unconfirmed);
        }
        fixture.control.publisher().finish().await;
        drop(publications);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_shown_once_is_shown_by_a_silent_data_plane_too() {
        // The data plane takes publications and confirms none.
        let (outlet, mut publications) = mpsc::channel(8);
        let fixture = Fixture::with_outlet(outlet, Told::default()).await;
        let kept = TaskTracker::new();
        kept.spawn(async move {
            let mut unanswered = Vec::new();
            while let Some(publication) = publications.recv().await {
                unanswered.push(publication);
            }
        });
        let app = NewApp {
            name: "acme".parse().unwrap(),
            contact: None,
        };
        let refused = fixture.control.create_app(&ACTOR, app).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Unconfirmed);

        let new = crate::control::testing::new_key("acme", "orders:read");
        let created = fixture.control.create_key(&ACTOR, new).await.unwrap();
        let (key, secret) = created.value;
        assert!(fixture.hasher.matches(secret.expose(), &key.digest));
        let overlap = Duration::from_hours(1);
        let rotated = fixture.control.rotate_key(&ACTOR, key.id, overlap).await;
        let rotated = rotated.unwrap();
        assert!(
            fixture
                .hasher
                .matches(rotated.value.1.expose(), &rotated.value.0.digest)
        );
        let signed = fixture.sign("acme", "prod", CSR).await.unwrap();
        assert!(signed.value.chain_pem.contains("BEGIN CERTIFICATE"));
        for receipt in [created.receipt, rotated.receipt, signed.receipt] {
            assert_eq!((receipt.confirmed, receipt.workers), (false, 0));
        }
        assert_eq!(signed.receipt.version, fixture.snapshot().version);

        let id = rotated.value.0.id;
        let why = crate::domain::credential::RevocationReason::Superseded;
        let revoked = fixture.control.revoke_key(&ACTOR, id, why).await;
        assert_eq!(revoked.unwrap_err().reason, Reason::Unconfirmed);
    }

    #[tokio::test]
    async fn one_silent_worker_is_enough_to_say_that_a_change_is_not_confirmed() {
        let (outlet, mut publications) = mpsc::channel(8);
        let fixture = Fixture::with_outlet(outlet, Told::default()).await;
        TaskTracker::new().spawn(async move {
            while let Some(publication) = publications.recv().await {
                let _ = publication.receipt.send(Receipt {
                    version: publication.snapshot.version,
                    confirmed: false,
                    workers: 1,
                    workers_total: 2,
                    connections_closed: 0,
                });
            }
        });
        let new = NewApp {
            name: "acme".parse().unwrap(),
            contact: None,
        };
        let refused = fixture.control.create_app(&ACTOR, new).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Unconfirmed);
        assert!(refused.detail.contains("1 of 2 workers"), "{refused}");
        let new = crate::control::testing::new_key("acme", "");
        let receipt = fixture
            .control
            .create_key(&ACTOR, new)
            .await
            .unwrap()
            .receipt;
        assert_eq!((receipt.confirmed, receipt.workers), (false, 1));
        assert_eq!(receipt.workers_total, 2);
    }

    #[tokio::test]
    async fn a_change_whose_caller_leaves_is_published_all_the_same() {
        let fixture = Fixture::new().await;
        let new = NewApp {
            name: "acme".parse().unwrap(),
            contact: None,
        };
        {
            let mut change = std::pin::pin!(fixture.control.create_app(&ACTOR, new));
            assert!(poll_once(change.as_mut()).await.is_none());
        }
        fixture.control.publisher().finish().await;
        let app = fixture.store.app_by_name(&"acme".parse().unwrap()).unwrap();
        assert!(fixture.snapshot().active_app(app.unwrap().id).is_ok());
        assert_eq!(fixture.last_told().0.version, fixture.snapshot().version);
    }

    async fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut future = future;
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match future.as_mut().poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test]
    async fn many_changes_at_once_leave_in_the_order_of_their_revisions() {
        let fixture = Fixture::new().await;
        let tasks = TaskTracker::new();
        for place in 0..20 {
            let control = fixture.control.clone();
            tasks.spawn(async move {
                let name = format!("app-{place}").parse().unwrap();
                let new = NewApp {
                    name,
                    contact: None,
                };
                control.create_app(&ACTOR, new).await.unwrap();
            });
        }
        tasks.close();
        tasks.wait().await;
        let told = fixture.told.lock().unwrap();
        let order: Vec<_> = told
            .iter()
            .map(|(snapshot, _)| (snapshot.version, snapshot.revision))
            .collect();
        assert!(order.is_sorted());
        assert_eq!(fixture.snapshot().apps.len(), 20);
        assert_eq!(told.last().unwrap().0.apps.len(), 20);
    }

    #[tokio::test]
    async fn changes_that_wait_together_are_published_once_and_have_a_receipt_each() {
        let fixture = Fixture::new().await;
        fixture.app("first").await;
        let roomy = AppPatch {
            keys_max: Patch::Set(64),
            ..AppPatch::default()
        };
        let set = fixture.control.set_app(&ACTOR, "first", roomy, false);
        set.await.unwrap();
        let (key, _) = fixture.key("first", "").await;
        let (tasks, mut ends) = (TaskTracker::new(), mpsc::channel(64));
        let inner = &fixture.control.publisher().inner;
        let state = inner.state.lock().await;
        for place in 0..63 {
            let (control, end) = (fixture.control.clone(), ends.0.clone());
            tasks.spawn(async move {
                let new = crate::control::testing::new_key("first", &format!("scope-{place}"));
                let created = control.create_key(&ACTOR, new).await.unwrap();
                end.send((created.receipt, created.value.0.id))
                    .await
                    .unwrap();
            });
        }
        let (control, end) = (fixture.control.clone(), ends.0.clone());
        tasks.spawn(async move {
            let why = crate::domain::credential::RevocationReason::Superseded;
            let revoked = control.revoke_key(&ACTOR, key.id, why).await.unwrap();
            end.send((revoked.receipt, revoked.value.id)).await.unwrap();
        });
        while inner.queue.len() < 64 {
            tokio::task::yield_now().await;
        }
        drop(state);
        tasks.close();
        tasks.wait().await;
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..64 {
            let (receipt, id) = ends.1.recv().await.unwrap();
            assert!(receipt.confirmed);
            assert_eq!(receipt.version, 5);
            assert_eq!(receipt.connections_closed, u32::from(id == key.id));
            ids.insert(id);
        }
        assert_eq!(ids.len(), 64);
        let told = fixture.told.lock().unwrap();
        assert_eq!(told.len(), 4);
        assert_eq!(told.last().unwrap().0.revision, 67);
        assert_eq!(told.last().unwrap().0.keys.len(), 64);
    }

    #[test]
    fn an_author_without_a_receipt_learns_that_the_change_is_stored() {
        let at = Timestamp::from_unix_seconds(0);
        let plan = move |_: &Draft<'_>| {
            Ok(Plan {
                value: 7,
                changes: Vec::new(),
                event: event(&ACTOR, at, "a.test", &"it", None, json!({})),
            })
        };
        let (mut asked, mut answer) = Asked::new(plan, true);
        let store = SqliteStore::in_memory().unwrap();
        assert!(asked.decide(&Draft::of(&store)).is_some());
        drop(Author {
            change: Some(Box::new(asked)),
            ended: false,
        });
        let stored = answer.try_recv().unwrap().unwrap();
        assert_eq!((stored.value, stored.receipt), (7, None));
    }

    #[tokio::test]
    async fn a_decision_that_panics_changes_nothing_and_harms_no_other() {
        let fixture = Fixture::new().await;
        let failed = fixture
            .control
            .commit::<()>(|_| panic!("a bug in a use case"))
            .await;
        assert_eq!(failed.unwrap_err().reason, Reason::Internal);
        fixture.app("acme").await;
    }

    #[tokio::test]
    async fn a_change_that_the_store_refuses_is_not_published() {
        let fixture = Fixture::new().await;
        let app = fixture.app("acme").await;
        let before = fixture.snapshot();
        let refused = fixture.control.commit(move |_| {
            let detail = json!({});
            let at = Timestamp::from_unix_seconds(0);
            let unknown = App {
                id: AppId::from_bits(9),
                ..app.clone()
            };
            Ok(Plan {
                value: (),
                changes: vec![apps::set_state(unknown, AppState::Revoked)?.into()],
                event: event(&ACTOR, at, "app.revoke", &app.id, None, detail),
            })
        });
        assert_eq!(refused.await.unwrap_err().reason, Reason::NotFound);
        assert!(Arc::ptr_eq(&before, &fixture.snapshot()));
    }
}
