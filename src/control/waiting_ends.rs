//! Ends of tokens that are stored, and wait to be published together.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::domain::record::Receipt;
use crate::domain::succession::Entry;

/// The ends that wait. Each author waits for its receipt, so that there are never more of them than authors.
#[derive(Debug, Default)]
pub(super) struct WaitingEnds(Mutex<Ends>);

type Ends = (Vec<Entry>, Vec<oneshot::Sender<Receipt>>);

impl WaitingEnds {
    pub fn push(&self, ends: Vec<Entry>, author: oneshot::Sender<Receipt>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.0.extend(ends);
        waiting.1.push(author);
    }

    /// All that wait, and their authors.
    pub fn take(&self) -> Ends {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting)
    }
}
