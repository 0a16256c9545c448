//! The rest of a request that has been answered, over HTTP/1.1: read and discarded within limits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use super::link::Link;
use crate::net::discard::Discard;
use crate::net::turn;

/// The rest of the limits: bytes and time.
#[derive(Debug)]
pub struct Discarding {
    left: u64,
    until: Instant,
    pause: Duration,
    timer: Pin<Box<Sleep>>,
    /// The pause that the timer was set for, while nothing comes.
    waiting: Option<Duration>,
}

/// The end of a discarded body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// All of it has come, so another request may follow.
    Whole,
    /// Its end is unknown: it is malformed, too slow, or too long.
    Unknown,
}

impl Discarding {
    /// The limits of one answer. The time begins with it.
    pub fn begin(bounds: &Discard) -> Self {
        let until = turn::now() + bounds.time;
        Self {
            left: bounds.bytes,
            until,
            pause: bounds.pause,
            timer: Box::pin(sleep_until(until)),
            waiting: None,
        }
    }

    /// Discards the rest of a body.
    pub fn poll_body<S>(&mut self, cx: &mut Context<'_>, link: &mut Link<S>) -> Poll<Rest>
    where
        S: AsyncBufRead + AsyncWrite + Unpin,
    {
        loop {
            if link.skip() {
                return Poll::Ready(Rest::Whole);
            }
            let more = link.is_coming() && ready!(self.poll_more(cx, link, QUIET));
            if !more {
                return Poll::Ready(Rest::Unknown);
            }
        }
    }

    /// Discards all input until the client closes.
    pub fn poll_end<S>(&mut self, cx: &mut Context<'_>, link: &mut Link<S>) -> Poll<()>
    where
        S: AsyncBufRead + AsyncWrite + Unpin,
    {
        loop {
            link.input.clear();
            if !ready!(self.poll_more(cx, link, self.pause)) {
                return Poll::Ready(());
            }
        }
    }

    /// Ready when the time is over.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.waiting = None;
        if self.timer.deadline() != self.until {
            self.timer.as_mut().reset(self.until);
        }
        self.timer.as_mut().poll(cx)
    }

    /// Ready with true if something more has come, and is within the limits.
    fn poll_more<S>(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link<S>,
        pause: Duration,
    ) -> Poll<bool>
    where
        S: AsyncBufRead + AsyncWrite + Unpin,
    {
        let now = turn::now();
        if self.left == 0 || now >= self.until {
            return Poll::Ready(false);
        }
        if let Poll::Ready(read) = link.poll_fill(cx) {
            let length = read.map_or(0, |length| u64::try_from(length).unwrap_or(u64::MAX));
            self.left = self.left.saturating_sub(length);
            self.waiting = None;
            return Poll::Ready(length > 0);
        }
        if self.waiting.replace(pause) != Some(pause) {
            self.timer.as_mut().reset(self.until.min(now + pause));
        }
        self.timer.as_mut().poll(cx).map(|()| false)
    }
}

/// The longest pause in the middle of a body. A client that is quiet for longer may be waiting for the connection to
/// end.
const QUIET: Duration = Duration::from_secs(1);
