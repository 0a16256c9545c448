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
    /// When the client was asked, while it has not answered.
    asked: Option<Instant>,
}

impl Pulse {
    /// Asks through `pings` when nothing has come for `every`, and waits for the answer for `within`.
    pub fn new(pings: PingPong, every: Duration, within: Duration) -> Self {
        Self {
            pings,
            every,
            within,
            look: Box::pin(sleep_until(turn::now() + every)),
            asked: None,
        }
    }

    /// Ready when nothing has come in time after the client was asked. `heard` is when anything came from it last: bytes
    /// are a sign of life as good as the answer, which may wait behind them.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>, heard: Instant) -> Poll<()> {
        if self.asked.is_some() && self.pings.poll_pong(cx).is_ready() {
            self.asked = None;
            self.look.as_mut().reset(heard + self.every);
        }
        loop {
            ready!(self.look.as_mut().poll(cx));
            let now = turn::now();
            let due = match self.asked {
                Some(asked) => heard.max(asked) + self.within,
                None => heard + self.every,
            };
            if now < due {
                self.look.as_mut().reset(due);
            } else if self.asked.is_some() {
                return Poll::Ready(());
            } else {
                // That it cannot be asked means that the connection has ended, which is noticed by itself.
                let sent = self.pings.send_ping(Ping::opaque()).is_ok();
                self.asked = sent.then_some(now);
                self.look.as_mut().reset(now + self.within);
            }
        }
    }
}
