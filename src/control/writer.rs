//! Writer: the changes that wait, decided one after another and stored together.
//!
//! A change costs a wait for the disk, and a hundred changes in one transaction cost the same wait. So one writer takes
//! all changes that have come meanwhile. Each is decided over the store and the changes before it, and keeps its own
//! revision, audit event and result.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::draft::Draft;
use super::error::Error;
use crate::domain::record::{AuditEvent, Receipt};
use crate::domain::registry::change::Change;
use crate::domain::succession::Entry;
use crate::store::act::Act;
use crate::store::error::{Conflict, Error as StoreError};
use crate::store::repository::{Since, Store};

/// The most changes that are stored together. More would hold up the first of them, and save little.
pub(super) const GROUP_MAX: usize = 256;

/// The most decisions about one change, while other processes change the store between reading and writing.
const DECISIONS_MAX: usize = 16;

/// The decision of a use case: the changes to store, and the audit event.
///
/// What the data plane gets, and what ended, follows from the changes.
#[derive(Debug)]
pub(super) struct Plan<T> {
    pub value: T,
    pub changes: Vec<Change>,
    pub event: AuditEvent,
}

/// The result of a stored change.
#[derive(Debug)]
pub(super) struct Stored<T> {
    pub value: T,
    /// The receipt of its publication; none if its author waits for none.
    pub receipt: Option<Receipt>,
}

/// A change that waits to be stored.
pub(super) trait Waiting: Send {
    /// Decides over what is stored and decided before. A refusal is kept; deciding again replaces it.
    fn decide(&mut self, draft: &Draft<'_>) -> Option<Act>;

    /// True if its author waits for a receipt.
    fn wants_receipt(&self) -> bool;

    /// Answers with the decision, now that it is stored.
    fn finish(self: Box<Self>, receipt: Option<Receipt>);

    /// Answers with the refusal of the decision, or else with this failure.
    fn refuse(self: Box<Self>, failure: Error);
}

/// The changes that wait. Each has an author who waits for the answer, so that there are never more of them than authors.
#[derive(Default)]
pub(super) struct Queue(Mutex<VecDeque<Box<dyn Waiting>>>);

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

impl Queue {
    /// Puts a change at the end. True if it is alone there, so that nobody has been asked to take it.
    #[must_use]
    pub fn push(&self, change: Box<dyn Waiting>) -> bool {
        let mut waiting = self.lock();
        waiting.push_back(change);
        waiting.len() == 1
    }

    /// The changes that have waited longest. True with them if others are left, so that somebody has to take those.
    pub fn take(&self) -> (Vec<Box<dyn Waiting>>, bool) {
        let mut waiting = self.lock();
        let count = waiting.len().min(GROUP_MAX);
        let taken = waiting.drain(..count).collect();
        (taken, !waiting.is_empty())
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Box<dyn Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change with the author's way to the answer.
pub(super) struct Asked<T, D> {
    decide: D,
    decided: Option<Result<T, Error>>,
    wants_receipt: bool,
    answer: oneshot::Sender<Result<Stored<T>, Error>>,
}

impl<T: Send, D: Fn(&Draft<'_>) -> Result<Plan<T>, Error> + Send> Asked<T, D> {
    pub fn new(
        decide: D,
        wants_receipt: bool,
    ) -> (Self, oneshot::Receiver<Result<Stored<T>, Error>>) {
        let (answer, waiting) = oneshot::channel();
        let asked = Self {
            decide,
            decided: None,
            wants_receipt,
            answer,
        };
        (asked, waiting)
    }
}

impl<T: Send, D: Fn(&Draft<'_>) -> Result<Plan<T>, Error> + Send> Waiting for Asked<T, D> {
    fn decide(&mut self, draft: &Draft<'_>) -> Option<Act> {
        // A bug in one use case ends the change of its author and no other.
        let decided = catch_unwind(AssertUnwindSafe(|| (self.decide)(draft)))
            .unwrap_or_else(|panic| Err(not_decided(&*panic)));
        match decided {
            Ok(plan) => {
                self.decided = Some(Ok(plan.value));
                Some(Act {
                    changes: plan.changes,
                    event: plan.event,
                })
            }
            Err(refusal) => {
                self.decided = Some(Err(refusal));
                None
            }
        }
    }

    fn wants_receipt(&self) -> bool {
        self.wants_receipt
    }

    fn finish(self: Box<Self>, receipt: Option<Receipt>) {
        if let Some(decided) = self.decided {
            // An author who has left needs no answer.
            let _ = self
                .answer
                .send(decided.map(|value| Stored { value, receipt }));
        }
    }

    fn refuse(self: Box<Self>, failure: Error) {
        let refusal = match self.decided {
            Some(Err(refusal)) => refusal,
            Some(Ok(_)) | None => failure,
        };
        let _ = self.answer.send(Err(refusal));
    }
}

fn not_decided(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.unwrap_or("a panic without a text").to_owned();
    Error::internal("the change was not carried out", text)
}

/// The changes that were stored together.
pub(super) struct Written {
    /// The changes of other processes, which came before; none if there were none.
    pub foreign: Option<Since>,
    pub changes: Vec<Kept>,
    /// The store's revision after them.
    pub revision: u64,
    /// True if the changes of other processes are known, up to this revision.
    pub complete: bool,
}

/// One stored change.
pub(super) struct Kept {
    pub author: Box<dyn Waiting>,
    pub subject: String,
    pub entries: Vec<Entry>,
}

/// Decides and stores a group; `known` is the revision of the newest snapshot. Refused changes get their answers here.
///
/// It returns one result for each transaction: one, if the store keeps the group.
pub(super) fn write(store: &dyn Store, group: Vec<Box<dyn Waiting>>, known: u64) -> Vec<Written> {
    let mut group = group;
    match attempt(store, &mut group, known) {
        Ok(attempt) => Vec::from_iter(attempt.answered(group)),
        // The store is well and does not keep one of them: each is told apart from the others by its own attempt.
        Err(failure) if group.len() > 1 && !concerns_all(&failure) => {
            let mut known = known;
            let mut written = Vec::new();
            for change in group {
                written.extend(write(store, vec![change], known));
                known = written.last().map_or(known, |written| written.revision);
            }
            written
        }
        Err(failure) => {
            for change in group {
                change.refuse(failure.clone().into());
            }
            Vec::new()
        }
    }
}

const fn concerns_all(failure: &StoreError) -> bool {
    matches!(
        failure,
        StoreError::Unavailable(_) | StoreError::Conflict(Conflict::Moved)
    )
}

/// A group that was decided and, as far as it was not refused, stored.
struct Attempt {
    foreign: Option<Since>,
    complete: bool,
    /// The revision before the group.
    base: u64,
    /// The acts, each with the place of its change in the group.
    acts: Vec<(usize, Act)>,
}

/// The store's state before a group.
struct Base {
    revision: u64,
    foreign: Option<Since>,
    complete: bool,
}

impl Base {
    /// Reads the revision, and the changes of other processes if it is not the one that is `known`.
    fn read(store: &dyn Store, known: u64) -> Result<Self, StoreError> {
        let revision = store.revision()?;
        if revision == known {
            return Ok(Self {
                revision,
                foreign: None,
                complete: true,
            });
        }
        match store.changes_since(known) {
            Ok(since) => Ok(Self {
                revision: since.revision,
                foreign: Some(since),
                complete: true,
            }),
            // The revision of the snapshot stays behind, so that the next change tries again.
            Err(error) => {
                warn!(error = %error, "store changed by others cannot be read; publishing our own change only");
                Ok(Self {
                    revision,
                    foreign: None,
                    complete: false,
                })
            }
        }
    }
}

/// Decides and stores, and begins again if another process was faster.
fn attempt(
    store: &dyn Store,
    group: &mut [Box<dyn Waiting>],
    known: u64,
) -> Result<Attempt, StoreError> {
    for _ in 1..DECISIONS_MAX {
        match attempt_once(store, group, known) {
            Err(StoreError::Conflict(Conflict::Moved)) => {}
            ended => return ended,
        }
    }
    attempt_once(store, group, known)
}

fn attempt_once(
    store: &dyn Store,
    group: &mut [Box<dyn Waiting>],
    known: u64,
) -> Result<Attempt, StoreError> {
    let Base {
        revision: base,
        foreign,
        complete,
    } = Base::read(store, known)?;
    let (places, acts): (Vec<_>, Vec<_>) = decided(store, group).into_iter().unzip();
    if !acts.is_empty() {
        store.change(base, &acts)?;
    }
    Ok(Attempt {
        foreign,
        complete,
        base,
        acts: places.into_iter().zip(acts).collect(),
    })
}

/// The decisions about the group, each over the ones before it.
fn decided(store: &dyn Store, group: &mut [Box<dyn Waiting>]) -> Vec<(usize, Act)> {
    let mut draft = Draft::of(store);
    let mut acts = Vec::new();
    for (place, change) in group.iter_mut().enumerate() {
        if let Some(act) = change.decide(&draft) {
            draft.add(&act.changes);
            acts.push((place, act));
        }
    }
    acts
}

impl Attempt {
    /// Answers those who were refused, and returns the rest, if there is any.
    fn answered(self, group: Vec<Box<dyn Waiting>>) -> Option<Written> {
        let mut revision = self.base;
        let mut acts = self.acts.into_iter().peekable();
        let mut changes = Vec::new();
        for (place, author) in group.into_iter().enumerate() {
            let Some((_, act)) = acts.next_if(|(of, _)| *of == place) else {
                author.refuse(Error::internal("the change was not decided", "no decision"));
                continue;
            };
            revision += 1;
            let event = act.event;
            info!(actor = %event.actor, action = %event.action, subject = %event.subject, revision, "change stored");
            changes.push(Kept {
                author,
                subject: event.subject,
                entries: act.changes.iter().filter_map(Entry::of).collect(),
            });
        }
        let anything = !changes.is_empty() || self.foreign.is_some();
        anything.then_some(Written {
            foreign: self.foreign,
            changes,
            revision,
            complete: self.complete,
        })
    }
}
