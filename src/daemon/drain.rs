//! The progress of a drain, for callers of the admin API that wait for its end.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::api::admin::operations::{DrainProgress, DrainState};
use crate::proxy::report::metrics::Load;

/// The interval of progress answers, short enough for a person who watches.
const TICK: Duration = Duration::from_secs(1);

/// The time for which the process stays so that watchers learn of the end; each asks again within moments.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The progress of a drain.
#[derive(Debug)]
pub struct Course {
    begun: OnceLock<Instant>,
    /// The duration, once it is over.
    took: watch::Sender<Option<Duration>>,
    /// True if anybody has asked since it began.
    watched: AtomicBool,
    told: Notify,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            begun: OnceLock::new(),
            took: watch::Sender::new(None),
            watched: AtomicBool::new(false),
            told: Notify::new(),
        }
    }
}

impl Course {
    /// Begins the drain.
    pub fn begin(&self) {
        // Only the first call sets the time; a second order shortens the drain and does not restart it.
        let _first = self.begun.set(Instant::now());
    }

    /// Ends the drain: every accepted connection has ended, or was closed at the deadline.
    pub fn end(&self) {
        let took = self.begun.get().map(Instant::elapsed);
        self.took.send_replace(Some(took.unwrap_or_default()));
    }

    /// Waits for the end or a tick, whichever is first, and returns the progress; the first call returns at once.
    pub async fn progress(&self, load: impl FnOnce() -> Load) -> DrainProgress {
        let mut took = None;
        if self.begun.get().is_some() {
            let mut ended = self.took.subscribe();
            let patience = if self.watched.swap(true, Ordering::AcqRel) {
                TICK
            } else {
                Duration::ZERO
            };
            if let Ok(Ok(end)) = timeout(patience, ended.wait_for(Option::is_some)).await {
                took = *end;
            }
        }
        let begun = self.begun.get();
        let state = match (took, begun) {
            (Some(_), _) => DrainState::Drained,
            (None, Some(_)) => DrainState::Draining,
            (None, None) => DrainState::Serving,
        };
        if took.is_some() {
            self.told.notify_one();
        }
        let took = took.or_else(|| begun.map(Instant::elapsed));
        let load = load();
        DrainProgress {
            state,
            milliseconds: took.map_or(0, |took| {
                u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
            }),
            connections: load.connections,
            requests: load.requests,
            requests_cut: load.requests_cut,
        }
    }

    /// Waits a moment if anybody watched, so that the watchers learn of the end before the admin API is gone.
    pub async fn last_word(&self) {
        if self.watched.load(Ordering::Acquire) {
            let _heard = timeout(LAST_WORD, self.told.notified()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const LOAD: Load = Load {
        connections: 3,
        requests: 2,
        requests_cut: 1,
    };

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_watched_to_its_end() {
        let course = Arc::new(Course::default());
        let serving = course.progress(|| LOAD).await;
        assert_eq!(
            (serving.state, serving.milliseconds),
            (DrainState::Serving, 0)
        );

        course.begin();
        for milliseconds in [0, 1000] {
            let draining = course.progress(|| LOAD).await;
            assert_eq!(draining.state, DrainState::Draining);
            assert_eq!(draining.milliseconds, milliseconds);
            assert_eq!(draining.requests, 2);
        }

        let watcher = {
            let course = Arc::clone(&course);
            tokio_util::task::TaskTracker::new()
                .spawn(async move { course.progress(|| LOAD).await })
        };
        tokio::time::sleep(Duration::from_millis(500)).await;
        course.end();
        let began = Instant::now();
        course.last_word().await;
        assert!(began.elapsed() < LAST_WORD, "it leaves once it was heard");
        let drained = watcher.await.unwrap();
        assert_eq!(
            (drained.state, drained.milliseconds),
            (DrainState::Drained, 1500)
        );
        assert_eq!(drained.requests_cut, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_who_does_not_watch() {
        let course = Course::default();
        course.begin();
        course.end();
        let began = Instant::now();
        course.last_word().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        // A watcher that has left delays the end for a moment only.
        let course = Course::default();
        course.begin();
        course.progress(|| LOAD).await;
        course.end();
        course.last_word().await;
        assert_eq!(began.elapsed(), LAST_WORD);
    }
}
