//! How an HTTP/2 connection tells its client to reconnect elsewhere.
//!
//! The graceful way of RFC 9113 (6.8) is two GOAWAY frames: the first counts every stream, so that those on their way
//! are served. Clients that send one request at a time need only one, after an answer: nothing of theirs is on its way
//! then. Some of them (Python's h2) fail every stream that is open when a GOAWAY frame comes, and every one later.

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

/// The requests of a connection that run.
#[derive(Debug, Default)]
pub struct Streams {
    open: Cell<u32>,
    /// Several ran at a time.
    several: Cell<bool>,
    /// The last one that has come.
    last: Cell<u32>,
    waiting: RefCell<Option<Waker>>,
}

/// One request that runs.
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

    /// Whether a request has come.
    pub fn are_used(&self) -> bool {
        self.last.get() > 0
    }

    /// Whether several ran at a time, so that others may be on their way whenever one has its answer.
    pub fn are_several(&self) -> bool {
        self.several.get()
    }

    /// Whether none runs; otherwise `cx` is woken when none does.
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

/// A connection whose client is to go elsewhere.
#[derive(Debug)]
pub struct Leaving {
    /// How long a client that asks nothing is waited for.
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

    /// Whether a client that sends one request at a time can be told now: after an answer, or when it asks nothing.
    pub fn is_time(&mut self, cx: &mut Context<'_>, streams: &Streams) -> bool {
        if streams.are_several() || !streams.are_used() || !streams.are_done(cx) {
            return false;
        }
        streams.last.get() != self.before || self.idle.as_mut().poll(cx).is_ready()
    }
}

/// Says that no request after the last one is served, and closes.
pub async fn goodbye<S>(mut stream: Gathered<S>, streams: Rc<Streams>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut frame = [0, 0, 8, 7, 0, 0, 0, 0, 0].to_vec();
    frame.extend(streams.last.get().to_be_bytes());
    frame.extend([0; 4]);
    if stream.write_all(&frame).await.is_ok() {
        // A client that has left has heard it.
        let _left = discard_rest(&mut stream, &Discard::default().briefly()).await;
    }
}

/// A busy client asks within this, and the connection of one that does not is closed before the listeners are.
const IDLE: Duration = Duration::from_secs(1);
