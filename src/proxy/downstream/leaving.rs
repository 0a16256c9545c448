//! The graceful end of an HTTP/2 connection, so that its client reconnects elsewhere.
//!
//! The graceful shutdown of RFC 9113 (6.8) is two GOAWAY frames: the first names the largest stream number, so that
//! requests in flight are served. Clients that send one request at a time need only one, after an answer: none of their
//! requests is in flight then. Some of them (Python's h2) fail every stream that is open when a GOAWAY frame comes, and
//! every one later.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Sleep, sleep};

use crate::net::discard::{Discard, discard_rest};
use crate::net::outbox::Gathered;

/// The running requests of a connection.
#[derive(Debug, Default)]
pub struct Streams {
    open: Cell<u32>,
    /// True if several ran at a time.
    several: Cell<bool>,
    /// The number of the last one.
    last: Cell<u32>,
    waiting: RefCell<Option<Waker>>,
}

/// One running request.
#[derive(Debug)]
pub struct OpenStream(Rc<Streams>);

impl Streams {
    pub fn open(self: &Rc<Self>, id: u32) -> OpenStream {
        let open = self.open.get() + 1;
        self.open.set(open);
        self.last.set(id);
        if open > 1 {
            self.several.set(true);
        }
        OpenStream(Rc::clone(self))
    }

    /// True if a request has come.
    pub fn are_used(&self) -> bool {
        self.last.get() > 0
    }

    /// True if several ran at a time, so that others may be in flight at the end of each.
    pub fn are_several(&self) -> bool {
        self.several.get()
    }

    /// True if none runs; otherwise `cx` is woken when none does.
    fn are_done(&self, cx: &Context<'_>) -> bool {
        let done = self.open.get() == 0;
        if !done {
            self.waiting.replace(Some(cx.waker().clone()));
        }
        done
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let left = self.0.open.get().saturating_sub(1);
        self.0.open.set(left);
        if left == 0
            && let Some(waker) = self.0.waiting.take()
        {
            waker.wake();
        }
    }
}

/// A connection whose client is sent elsewhere.
#[derive(Debug)]
pub struct Leaving {
    /// The time for which a client without requests is waited for.
    idle: Pin<Box<Sleep>>,
    /// The last request before this began.
    before: u32,
}

impl Leaving {
    pub fn begin(streams: &Streams) -> Self {
        Self {
            idle: Box::pin(sleep(IDLE)),
            before: streams.last.get(),
        }
    }

    /// True if a client that sends one request at a time may get its GOAWAY now: after an answer, or while it is idle.
    pub fn is_time(&mut self, cx: &mut Context<'_>, streams: &Streams) -> bool {
        if streams.are_several() || !streams.are_used() || !streams.are_done(cx) {
            return false;
        }
        streams.last.get() != self.before || self.idle.as_mut().poll(cx).is_ready()
    }
}

/// Sends a GOAWAY after the last request, and closes.
pub async fn goodbye<S>(mut stream: Gathered<S>, streams: Rc<Streams>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut frame = [0, 0, 8, 7, 0, 0, 0, 0, 0].to_vec();
    frame.extend(streams.last.get().to_be_bytes());
    frame.extend([0; 4]);
    if stream.write_all(&frame).await.is_ok() {
        linger(stream).await;
    }
}

/// Closes, and reads for a moment what the client has sent meanwhile: a connection that is closed with unread bytes is
/// reset, and the client loses answers that it has not read yet.
pub async fn linger<S>(mut stream: Gathered<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // An error means that the client has left.
    let _left = discard_rest(&mut stream, &Discard::default().briefly()).await;
}

/// The idle time before a GOAWAY. A busy client sends a request within it, and the connection of an idle one is closed
/// before the listeners are.
const IDLE: Duration = Duration::from_secs(1);
