//! A timer that moves with every request without a change to the runtime's wheel.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::net::turn;

/// A deadline.
///
/// The timer behind it is left unchanged while deadlines only move on, as they nearly always do. It then fires early,
/// once, and is set again: one registration per timeout and not one per request.
#[derive(Debug)]
pub struct Deadline {
    timer: Pin<Box<Sleep>>,
    at: Instant,
}

impl Deadline {
    pub fn after(time: Duration) -> Self {
        let at = Instant::now() + time;
        Self {
            timer: Box::pin(sleep_until(at)),
            at,
        }
    }

    pub fn set(&mut self, time: Duration) {
        self.at = turn::now() + time;
        if self.timer.deadline() > self.at {
            self.timer.as_mut().reset(self.at);
        }
    }

    /// Ready when it has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(flavor = "current_thread")]
    async fn it_can_be_moved_both_ways() {
        let start = Instant::now();
        let mut deadline = Deadline::after(Duration::from_millis(10));
        deadline.set(Duration::from_millis(40));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert!(start.elapsed() >= Duration::from_millis(40));
        deadline.set(Duration::from_hours(1));
        deadline.set(Duration::from_millis(5));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert!(start.elapsed() < Duration::from_mins(1));
    }
}
