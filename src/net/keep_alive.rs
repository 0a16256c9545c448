//! Keep-alive PINGs on HTTP/2 connections: a silent client has to acknowledge one (RFC 9113, 6.7).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep_until};

use super::turn;

/// The PING timer of one connection. It reports a client that did not acknowledge in time.
pub struct KeepAlive {
    pings: PingPong,
    every: Duration,
    within: Duration,
    /// The time of the next look.
    look: Pin<Box<Sleep>>,
    /// The time of the PING that the client has not acknowledged.
    asked: Option<Instant>,
}

impl KeepAlive {
    /// Sends a PING through `pings` when nothing has come for `every`, and waits for its acknowledgement for `within`.
    pub fn new(pings: PingPong, every: Duration, within: Duration) -> Self {
        Self {
            pings,
            every,
            within,
            look: Box::pin(sleep_until(turn::now() + every)),
            asked: None,
        }
    }

    /// Ready when nothing has come in time after a PING. `heard` is the time of the last bytes from the client: bytes
    /// prove that it lives just as the acknowledgement does, which may wait behind them.
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
                // A PING that cannot be sent means that the connection has ended, which is noticed elsewhere.
                let sent = self.pings.send_ping(Ping::opaque()).is_ok();
                self.asked = sent.then_some(now);
                self.look.as_mut().reset(now + self.within);
            }
        }
    }
}
