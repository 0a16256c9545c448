//! Last uses of keys: collected from the data plane, and written to the store once a minute.
//!
//! A use is no change: it has no revision and no audit event, and a crash loses at most the uses of the last minute.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::domain::api_key::KeyUse;
use crate::domain::id::KeyId;

/// A question to the data plane: which keys were used since the last one?
pub type UsesAsked = oneshot::Sender<Vec<(KeyId, KeyUse)>>;

/// The questions that wait for the data plane. It answers each within a moment.
pub const ASKED_MAX: usize = 64;

/// The time for an answer. Without one, the uses come with the next question.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The uses that are not stored yet.
#[derive(Debug)]
pub struct KeyUses {
    asked: mpsc::Sender<UsesAsked>,
    /// One for each key that was used in the last minute, so that keys are its bound.
    fresh: Mutex<HashMap<KeyId, KeyUse>>,
}

impl KeyUses {
    pub fn new(asked: mpsc::Sender<UsesAsked>) -> Self {
        Self {
            asked,
            fresh: Mutex::default(),
        }
    }

    /// Takes the uses from the data plane.
    pub(super) async fn collect(&self) {
        let (answer, answered) = oneshot::channel();
        if self.asked.try_send(answer).is_err() {
            return;
        }
        if let Ok(Ok(uses)) = timeout(ANSWER_WITHIN, answered).await {
            merge(&mut self.fresh(), uses);
        }
    }

    pub(super) fn fresh(&self) -> MutexGuard<'_, HashMap<KeyId, KeyUse>> {
        // A map of whole values has no half-made state.
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds uses; the later use of a key stays.
pub(super) fn merge(
    into: &mut HashMap<KeyId, KeyUse>,
    uses: impl IntoIterator<Item = (KeyId, KeyUse)>,
) {
    for (id, used) in uses {
        if into.get(&id).is_none_or(|known| known.at <= used.at) {
            into.insert(id, used);
        }
    }
}
