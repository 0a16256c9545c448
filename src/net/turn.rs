//! The time, read once for each turn of a connection.
//!
//! A turn is the work that is done for a connection between two waits: a few microseconds, in which a dozen places need
//! the time, and a clock call for each of them costs more than some of their work. Where a duration must not leave out
//! the turn itself, the clock is read.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The beginning of this thread's current turn; outside of one, the present time.
pub fn now() -> Instant {
    BEGAN.get().unwrap_or_else(Instant::now)
}

/// Does `work` as one turn.
pub fn take<T>(work: impl FnOnce() -> T) -> T {
    let _ends = Turn(BEGAN.replace(Some(Instant::now())));
    work()
}

pin_project_lite::pin_project! {
    /// A future that takes a turn at every poll.
    #[derive(Debug)]
    pub struct InTurns<F> {
        #[pin]
        future: F,
    }
}

impl<F> InTurns<F> {
    pub const fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F: Future> Future for InTurns<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        take(|| self.project().future.poll(cx))
    }
}

/// A turn, and the outer one, if any. It also ends with a panic.
struct Turn(Option<Instant>);

impl Drop for Turn {
    fn drop(&mut self) {
        BEGAN.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::time::Duration;

    use super::*;

    fn wait() {
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn time_stands_still_for_a_turn_and_no_longer() {
        let (first, second) = take(|| {
            let first = now();
            wait();
            (first, now())
        });
        assert_eq!(first, second);
        let outside = now();
        assert!(outside > second);
        wait();
        assert!(now() > outside);
        let inner = take(|| {
            let outer = now();
            wait();
            let inner = take(now);
            assert!(inner > outer);
            assert_eq!(now(), outer);
            inner
        });
        assert!(now() >= inner);
    }

    #[tokio::test]
    async fn a_future_has_one_time_for_each_poll() {
        let (first, second, later) = InTurns::new(async {
            let first = now();
            wait();
            let second = now();
            tokio::task::yield_now().await;
            (first, second, now())
        })
        .await;
        assert_eq!(first, second);
        assert!(later > second);
    }

    #[test]
    fn a_panic_ends_its_turn() {
        let caught = catch_unwind(|| take(|| panic!("on purpose")));
        assert!(caught.is_err());
        assert_eq!(BEGAN.get(), None);
    }
}
