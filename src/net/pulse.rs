//! Whether the client of an HTTP/2 connection is still there: one that has been silent is asked (RFC 9113, 6.7).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep_until};

use super::turn;

/// Asks a silent client for a sign of life, and says when there was none.
pub struct Pulse {
    pings: PingPong,
    every: Duration,
    within: Duration,
    /// When to look next.
    look: Pin<Box<Sleep>>,
    /// The client has been asked and has not answered.
    asked: bool,
}

impl Pulse {
    /// Asks through `pings` when nothing has come for `every`, and waits for the answer for `within`.
    pub fn new(pings: PingPong, every: Duration, within: Duration) -> Self {
        Self {
            pings,
            every,
            within,
            look: Box::pin(sleep_until(turn::now() + every)),
            asked: false,
        }
    }

    /// Ready when the client has not answered in time. `heard` is when anything came from it last.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>, heard: Instant) -> Poll<()> {
        if self.asked && self.pings.poll_pong(cx).is_ready() {
            self.asked = false;
            self.look.as_mut().reset(heard + self.every);
        }
        loop {
            ready!(self.look.as_mut().poll(cx));
            if self.asked {
                return Poll::Ready(());
            }
            let now = turn::now();
            let due = heard + self.every;
            let next = if now < due {
                due
            } else {
                // That it cannot be asked means that the connection has ended, which is noticed by itself.
                self.asked = self.pings.send_ping(Ping::opaque()).is_ok();
                now + self.within
            };
            self.look.as_mut().reset(next);
        }
    }
}
