//! Tests of groups: each change has its own result, and the results are as if the changes had come one after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::apps::NewApp;
use super::audit::event;
use super::draft::Draft;
use super::error::Error;
use super::publish::Publication;
use super::testing::{ACTOR, Fixture, Told};
use super::writer::{Asked, GROUP_MAX, Plan, Queue, Stored, Waiting, Written, write};
use crate::domain::app::{App, AppState};
use crate::domain::credential::RevocationReason;
use crate::domain::id::{AppId, KeyId};
use crate::domain::listing::{AuditFilter, Page};
use crate::domain::reason::Reason;
use crate::domain::record::Receipt;
use crate::domain::registry::change::{Allowed, Change};
use crate::domain::registry::{apps, keys};
use crate::domain::time::Timestamp;
use crate::store::act::Act;
use crate::store::error::Error as StoreError;
use crate::store::faulty::{Before, Faulty};
use crate::store::repository::Store;
use crate::store::sqlite::backend::SqliteStore;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

type Answer = oneshot::Receiver<Result<Stored<u128>, Error>>;

/// A group that is being made, with the answers to its authors.
#[derive(Default)]
struct Group {
    waiting: Vec<Box<dyn Waiting>>,
    answers: Vec<Answer>,
}

impl Group {
    fn ask(
        mut self,
        decide: impl Fn(&Draft<'_>) -> Result<Plan<u128>, Error> + Send + 'static,
    ) -> Self {
        let (asked, answer) = Asked::new(decide, true);
        self.waiting.push(Box::new(asked));
        self.answers.push(answer);
        self
    }

    /// Writes it, and returns what each author learns: the value, or the reason and the text.
    fn write(self, store: &dyn Store, known: u64) -> (Vec<Written>, Vec<Outcome>) {
        let mut written = write(store, self.waiting, known);
        for written in &mut written {
            for kept in std::mem::take(&mut written.changes) {
                kept.author.finish(None);
            }
        }
        let answers = self.answers.into_iter().map(|mut answer| {
            let answer = answer.try_recv().unwrap();
            let value = answer.map(|stored| stored.value);
            value.map_err(|error| (error.reason, error.detail))
        });
        (written, answers.collect())
    }
}

type Outcome = Result<u128, (Reason, String)>;

fn plan(number: u128, action: &str, changes: Vec<Change>) -> Plan<u128> {
    let subject = AppId::from_bits(number);
    Plan {
        value: number,
        event: event(&ACTOR, NOW, action, &subject, Some(subject), json!({})),
        changes,
    }
}

fn app(number: u128, name: &str) -> App {
    App::sample(number, name)
}

fn create(
    number: u128,
    name: &'static str,
) -> impl Fn(&Draft<'_>) -> Result<Plan<u128>, Error> + Send + 'static {
    move |draft| {
        let app = app(number, name);
        let changes = apps::create(app.clone(), draft.app_by_name(&app.name)?)?;
        let changes = changes.into_iter().map(Change::from).collect();
        Ok(plan(number, "app.create", changes))
    }
}

fn set_state(
    number: u128,
    to: AppState,
) -> impl Fn(&Draft<'_>) -> Result<Plan<u128>, Error> + Send + 'static {
    move |draft| {
        let app = draft.app(AppId::from_bits(number))?;
        let app = app.ok_or_else(|| Error::not_found("App", number))?;
        let changes = vec![apps::set_state(app, to)?.into()];
        Ok(plan(number, to.as_str(), changes))
    }
}

fn create_key(
    number: u8,
    of_app: u128,
) -> impl Fn(&Draft<'_>) -> Result<Plan<u128>, Error> + Send + 'static {
    move |draft| {
        let app = draft.app(AppId::from_bits(of_app))?;
        let app = app.ok_or_else(|| Error::not_found("App", of_app))?;
        let key = crate::store::contract::key(number, of_app);
        let changes = vec![keys::create(key, &app, 0)?.into()];
        Ok(plan(number.into(), "key.create", changes))
    }
}

fn revoke_key(number: u128) -> impl Fn(&Draft<'_>) -> Result<Plan<u128>, Error> + Send + 'static {
    move |draft| {
        let key = draft.key(KeyId::from_bits(number))?;
        let key = key.ok_or_else(|| Error::not_found("key", number))?;
        let reason = RevocationReason::KeyCompromise;
        let changes =
            vec![keys::revoke(key, NOW, reason.into(), keys::LastUses::default())?.into()];
        Ok(plan(number, "key.revoke", changes))
    }
}

fn store() -> Arc<SqliteStore> {
    Arc::new(SqliteStore::in_memory().unwrap())
}

/// The actions and subjects in the audit trail, the oldest first.
fn trail(store: &dyn Store) -> Vec<(String, String)> {
    let events = store.audit(&AuditFilter::default(), &Page::first(1000));
    let oldest_first = events.unwrap().into_iter().rev();
    oldest_first
        .map(|event| (event.action, event.subject))
        .collect()
}

fn refused(reason: Reason, detail: &str) -> Outcome {
    Err((reason, detail.to_owned()))
}

#[test]
fn of_changes_that_conflict_in_one_group_exactly_the_first_wins() {
    let store = store();
    let group = (1..=5).fold(Group::default(), |group, number| {
        group.ask(create(number, "acme"))
    });
    let (written, outcomes) = group.write(&*store, 0);
    assert_eq!((written.len(), written[0].revision), (1, 1));
    assert_eq!(outcomes[0], Ok(1));
    for outcome in &outcomes[1..] {
        let taken = refused(Reason::Conflict, "there is an App acme already");
        assert_eq!(*outcome, taken);
    }
    assert_eq!(store.load().unwrap().apps.len(), 1);
    assert_eq!(trail(&*store).len(), 1);
}

#[test]
fn each_change_is_decided_over_the_ones_before_it() {
    let store = store();
    let group = Group::default()
        .ask(create(1, "acme"))
        .ask(create_key(1, 1))
        .ask(revoke_key(1))
        .ask(revoke_key(1))
        .ask(set_state(1, AppState::Suspended))
        .ask(create_key(2, 1))
        .ask(create(2, "acme"))
        .ask(set_state(1, AppState::Revoked))
        .ask(create(3, "acme"))
        .ask(create(4, "acme"))
        .ask(set_state(1, AppState::Active))
        .ask(create_key(3, 9));
    let (written, outcomes) = group.write(&*store, 0);
    assert_eq!((written.len(), written[0].revision), (1, 6));
    let given_up = store.app(AppId::from_bits(1)).unwrap().unwrap().name;
    let expected = [
        Ok(1),
        Ok(1),
        Ok(1),
        refused(
            Reason::Conflict,
            &format!("{} was revoked at {NOW}", KeyId::from_bits(1)),
        ),
        Ok(1),
        refused(
            Reason::Conflict,
            "the App acme is suspended; resume it first",
        ),
        refused(Reason::Conflict, "there is an App acme already"),
        Ok(1),
        Ok(3),
        refused(Reason::Conflict, "there is an App acme already"),
        refused(Reason::Conflict, &format!("the App {given_up} is revoked")),
        refused(Reason::NotFound, "there is no App 9"),
    ];
    assert_eq!(outcomes, expected);
    let named = store.app_by_name(&"acme".parse().unwrap()).unwrap();
    assert_eq!(named.unwrap().id, AppId::from_bits(3));
}

#[test]
fn the_audit_trail_has_the_order_of_the_waiting_and_a_revision_each() {
    let store = store();
    let group = (0..64_u128).fold(Group::default(), |group, number| {
        group.ask(move |_| {
            let app = app(number, &format!("app-{number}"));
            let changes = apps::create(app, None)?;
            let changes = changes.into_iter().map(Change::from).collect();
            Ok(plan(number, "app.create", changes))
        })
    });
    let (written, outcomes) = group.write(&*store, 0);
    assert_eq!((written.len(), written[0].revision), (1, 64));
    assert!(outcomes.into_iter().eq((0..64).map(Ok)));
    let subjects = trail(&*store).into_iter().map(|(_, subject)| subject);
    let expected = (0..64).map(|number| AppId::from_bits(number).to_string());
    assert!(subjects.eq(expected));
}

#[test]
fn an_unavailable_store_fails_each_with_the_cause_and_the_refused_with_their_refusal() {
    let away: Before = Box::new(|_| Err(StoreError::Unavailable(Arc::new(Away))));
    let store = Faulty::new(store(), [away]);
    let group = || {
        Group::default()
            .ask(create(1, "acme"))
            .ask(create(2, "acme"))
            .ask(create(3, "other"))
    };
    let (written, outcomes) = group().write(&store, 0);
    assert!(written.is_empty());
    let taken = refused(Reason::Conflict, "there is an App acme already");
    let away = refused(Reason::StoreUnavailable, "the disk is gone");
    assert_eq!(outcomes, [away.clone(), taken.clone(), away]);
    assert_eq!(store.revision().unwrap(), 0);
    // The next group is stored.
    let (_, outcomes) = group().write(&store, 0);
    assert_eq!(outcomes, [Ok(1), taken, Ok(3)]);
}

#[derive(Debug, thiserror::Error)]
#[error("the disk is gone")]
struct Away;

#[test]
fn a_change_that_the_store_cannot_keep_harms_no_other() {
    let store = store();
    let (_, outcomes) = Group::default().ask(create(1, "acme")).write(&*store, 0);
    assert_eq!(outcomes, [Ok(1)]);
    let unjudged = |number: u128, name: &'static str, is_new| {
        move |_: &Draft<'_>| {
            let app = Allowed::unjudged(app(number, name), is_new);
            Ok(plan(number, "app.create", vec![app.into()]))
        }
    };
    let group = Group::default()
        .ask(create(2, "two"))
        .ask(unjudged(1, "twice", true))
        .ask(unjudged(9, "nowhere", false))
        .ask(create(3, "three"));
    let (written, outcomes) = group.write(&*store, 1);
    let expected = [
        Ok(2),
        refused(Reason::Conflict, "this is already registered"),
        refused(Reason::NotFound, "the object to change does not exist"),
        Ok(3),
    ];
    assert_eq!(outcomes, expected);
    let revisions: Vec<u64> = written.iter().map(|written| written.revision).collect();
    assert_eq!(revisions, [2, 3]);
    assert_eq!(store.load().unwrap().apps.len(), 3);
}

#[test]
fn a_panic_in_one_decision_harms_no_other() {
    let store = store();
    let group = Group::default()
        .ask(create(1, "one"))
        .ask(|_| panic!("a bug in a use case"))
        .ask(create(3, "three"));
    let (_, outcomes) = group.write(&*store, 0);
    let bug = refused(Reason::Internal, "the change was not carried out");
    assert_eq!(outcomes, [Ok(1), bug, Ok(3)]);
}

/// A change by another process.
fn foreign(number: u128, name: &'static str) -> Before {
    Box::new(move |store| {
        let changes = vec![Allowed::unjudged(app(number, name), true).into()];
        let event = plan(number, "app.create", Vec::new()).event;
        store.change(store.revision()?, &[Act { changes, event }])
    })
}

#[test]
fn what_another_process_changes_meanwhile_is_judged_as_well() {
    let asked = Arc::new(AtomicU32::new(0));
    let store = Faulty::new(store(), [foreign(7, "acme")]);
    let count = Arc::clone(&asked);
    let create_acme = create(1, "acme");
    let group = Group::default()
        .ask(move |draft| {
            count.fetch_add(1, Ordering::Relaxed);
            create_acme(draft)
        })
        .ask(create(2, "other"));
    let (written, outcomes) = group.write(&store, 0);
    let taken = refused(Reason::Conflict, "there is an App acme already");
    assert_eq!(outcomes, [taken, Ok(2)]);
    assert_eq!(asked.load(Ordering::Relaxed), 2, "it was decided again");
    assert_eq!((written[0].revision, written[0].complete), (2, true));
    let since = written[0].foreign.as_ref().unwrap();
    assert_eq!((since.revision, since.entries.len()), (1, 1));
}

#[test]
fn a_store_that_others_change_without_end_is_given_up() {
    let names = ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"];
    let names = names
        .into_iter()
        .chain(["b0", "b1", "b2", "b3", "b4", "b5"]);
    let numbers = 10..;
    let before = numbers
        .zip(names)
        .map(|(number, name)| foreign(number, name));
    let store = Faulty::new(store(), before);
    let (_, outcomes) = Group::default().ask(create(1, "acme")).write(&store, 0);
    let moved = "its state has changed in the meantime; check it and try again";
    assert_eq!(outcomes, [refused(Reason::Conflict, moved)]);
    assert_eq!(store.revision().unwrap(), 16);
}

#[test]
fn changes_of_others_that_cannot_be_read_leave_the_revision_behind() {
    let store = Faulty::new(store(), []);
    foreign(7, "seven")(&*store.store).unwrap();
    let away = StoreError::Unavailable(Arc::new(Away));
    *store.unreadable.lock().unwrap() = Some(away);
    let (written, outcomes) = Group::default().ask(create(1, "one")).write(&store, 0);
    assert_eq!(outcomes, [Ok(1)]);
    assert!(!written[0].complete);
    // The next change finds all of them.
    let (written, _) = Group::default().ask(create(2, "two")).write(&store, 0);
    let since = written[0].foreign.as_ref().unwrap();
    assert_eq!((since.revision, since.entries.len()), (2, 2));
    assert_eq!((written[0].revision, written[0].complete), (3, true));
}

#[test]
fn no_more_than_a_group_is_taken_at_a_time() {
    let queue = Queue::default();
    for _ in 0..GROUP_MAX + 3 {
        let (asked, _) = Asked::new(create(1, "acme"), true);
        let alone = queue.push(Box::new(asked));
        assert_eq!(alone, queue.len() == 1);
    }
    for (taken, left) in [(GROUP_MAX, true), (3, false), (0, false)] {
        let (group, others_wait) = queue.take();
        assert_eq!((group.len(), others_wait), (taken, left));
    }
}

/// A data plane that confirms at once, and keeps nothing.
fn confirming() -> mpsc::Sender<Publication> {
    let (outlet, mut publications) = mpsc::channel::<Publication>(8);
    TaskTracker::new().spawn(async move {
        while let Some(publication) = publications.recv().await {
            let _ = publication.receipt.send(Receipt {
                version: publication.snapshot.version,
                confirmed: true,
                workers: 2,
                workers_total: 2,
                connections_closed: 0,
            });
        }
    });
    outlet
}

/// The changes of one administrator a second, and of 64 at once. It measures, and asserts nothing that a slow machine
/// could break: `cargo test --lib -- --ignored --nocapture many_administrators`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn many_administrators_at_once() {
    const SPAN: Duration = Duration::from_secs(5);
    let mut alone = 0.0;
    for administrators in [1_u32, 4, 16, 64] {
        let place = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let store = SqliteStore::open(&place.path().join("store.db")).unwrap();
        let fixture = Fixture::with(Arc::new(store), confirming(), Told::default()).await;
        let (tasks, made) = (TaskTracker::new(), Arc::new(AtomicU32::new(0)));
        let (began, used) = (tokio::time::Instant::now(), cpu());
        for administrator in 0..administrators {
            let (control, made) = (fixture.control.clone(), Arc::clone(&made));
            tasks.spawn(async move {
                for number in 0.. {
                    if began.elapsed() > SPAN {
                        return;
                    }
                    let new = NewApp {
                        name: format!("app-{administrator}-{number}").parse().unwrap(),
                        contact: None,
                    };
                    control.create_app(&ACTOR, new).await.unwrap();
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        tasks.close();
        tasks.wait().await;
        let made = made.load(Ordering::Relaxed);
        let rate = f64::from(made) / began.elapsed().as_secs_f64();
        if administrators == 1 {
            alone = rate;
        }
        let factor = rate / alone;
        let cost = cpu().saturating_sub(used).as_micros() / u128::from(made.max(1));
        println!(
            "{administrators} at once: {rate:.0} changes a second, {factor:.1} times one, {cost} us of CPU each"
        );
    }
}

/// The CPU time of this process, to a hundredth of a second.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks = ticks.map(|field| field.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
