//! Access records between the workers and the log's writer: finished lines, a page for each worker.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::record::AccessRecord;

/// Bytes of lines that one worker holds until the log's writer takes them: about half a second of a very busy one. When
/// the writer falls further behind, records are dropped and counted; traffic does not wait for a disk.
const HELD_MAX: usize = 32 * 1024 * 1024;

/// The largest page that is kept; one that a burst has grown beyond this is freed.
const PAGE_KEPT_MAX: usize = 1024 * 1024;

/// The format of a record: appends one whole line.
pub type Form = dyn Fn(&AccessRecord, &mut Vec<u8>) + Send + Sync;

/// One page for each worker; see the module.
pub struct Ledger {
    pages: Box<[Page]>,
    /// An empty buffer, with the capacity of the page that was taken last: the next page gets it.
    spare: Mutex<Vec<u8>>,
    form: Box<Form>,
    dropped: AtomicU64,
}

/// A page of its own for each worker, because each writes to it at every request. Only the writer of the log ever makes
/// a worker wait for it, and only for as long as it takes to exchange a page for an empty one.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Page(Mutex<Vec<u8>>);

impl Ledger {
    pub fn new(
        workers: usize,
        form: impl Fn(&AccessRecord, &mut Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            pages: (0..workers).map(|_| Page::default()).collect(),
            spare: Mutex::default(),
            form: Box::new(form),
            dropped: AtomicU64::new(0),
        }
    }

    /// A ledger that keeps nothing, because it has no reader.
    pub fn off() -> Self {
        Self::new(0, |_, _| {})
    }

    /// True if the lines have a reader.
    pub fn is_read(&self) -> bool {
        !self.pages.is_empty()
    }

    /// Appends the lines of all workers to `lines`.
    pub fn take(&self, lines: &mut Vec<u8>) {
        let mut spare = held(&self.spare);
        for Page(page) in &self.pages {
            // A worker may wait for its page, so no byte is copied while it is held.
            std::mem::swap(&mut *held(page), &mut *spare);
            if lines.is_empty() {
                std::mem::swap(lines, &mut spare);
            } else {
                lines.append(&mut spare);
            }
            spare.shrink_to(PAGE_KEPT_MAX);
        }
    }

    /// Records that were dropped because the reader was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes `record` down on the page of `worker`.
    pub fn write(&self, worker: usize, record: &AccessRecord) {
        let Some(Page(page)) = self.pages.get(worker) else {
            return;
        };
        let mut page = held(page);
        if page.len() < HELD_MAX {
            (self.form)(record, &mut page);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The lock of a page, also after a panic of its holder: a page is lines, whole or not.
fn held(page: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    page.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("pages", &self.pages.len())
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub mod testing {
    use std::sync::Arc;

    use super::*;

    /// The records in a ledger whose lines are not looked at.
    pub type Written = Arc<Mutex<Vec<AccessRecord>>>;

    /// A ledger, and the records in it, in the order of writing.
    pub fn ledger(workers: usize) -> (Arc<Ledger>, Written) {
        let written = Written::default();
        let kept = Arc::clone(&written);
        let ledger = Ledger::new(workers, move |record, _| {
            kept.lock().unwrap().push(record.clone());
        });
        (Arc::new(ledger), written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::report::record::tests::record;

    /// A ledger of two workers, whose lines are one letter.
    fn letters() -> Ledger {
        Ledger::new(2, |_, page| page.extend_from_slice(b"x\n"))
    }

    #[test]
    fn the_lines_of_all_workers_are_taken_once() {
        let (ledger, record) = (letters(), record());
        ledger.write(0, &record);
        ledger.write(1, &record);
        ledger.write(1, &record);
        let mut lines = Vec::new();
        ledger.take(&mut lines);
        assert_eq!(lines, b"x\nx\nx\n");
        ledger.take(&mut lines);
        assert_eq!(lines.len(), 6, "nothing new");
        ledger.write(0, &record);
        ledger.take(&mut lines);
        assert_eq!(lines.len(), 8, "behind what is there");
    }

    #[test]
    fn a_ledger_that_is_off_keeps_nothing_and_misses_nothing() {
        let ledger = Ledger::off();
        ledger.write(0, &record());
        let mut lines = Vec::new();
        ledger.take(&mut lines);
        assert!(lines.is_empty() && !ledger.is_read());
        assert_eq!(ledger.dropped(), 0);
    }

    #[test]
    fn lines_that_nobody_takes_are_dropped_and_counted() {
        const LINE: usize = 1024 * 1024;
        let ledger = Ledger::new(1, |_, page| page.resize(page.len() + LINE, b'x'));
        let record = record();
        for _ in 0..HELD_MAX / LINE + 3 {
            ledger.write(0, &record);
        }
        assert_eq!(ledger.dropped(), 3);
        let mut lines = Vec::new();
        ledger.take(&mut lines);
        assert_eq!(lines.len(), HELD_MAX);
        ledger.write(0, &record);
        assert_eq!(ledger.dropped(), 3, "there is room again");
    }
}
