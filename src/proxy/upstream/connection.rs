//! One HTTP/1.1 connection to an upstream: its stream, and its input and output buffers.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::deadline::Deadline;
use crate::net::stream::{AnyStream, Peek, Rewound};
use crate::net::turn;
use crate::proxy::codec::output::Output;

/// A connection that speaks HTTP/1.1.
pub struct UpstreamConnection {
    stream: Box<dyn Peek>,
    /// Bytes that were read and not taken yet.
    pub input: BytesMut,
    pub output: Output,
    pub deadline: Deadline,
    pub opened: Instant,
    /// The time of the first bytes from the upstream after a silence: its idle time begins no earlier.
    pub heard: Instant,
    silent: bool,
    /// The keep-alive time that the upstream has announced, if any.
    pub kept_for: Option<Duration>,
    read_size: usize,
}

impl fmt::Debug for UpstreamConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("stream", &self.stream)
            .field("input", &self.input.len())
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl UpstreamConnection {
    pub fn new(stream: Box<dyn Peek>) -> Self {
        let now = Instant::now();
        Self {
            stream,
            input: BytesMut::new(),
            output: Output::default(),
            deadline: Deadline::after(Duration::from_mins(1)),
            opened: now,
            heard: now,
            silent: true,
            kept_for: None,
            read_size: READ_MIN,
        }
    }

    /// Reads the available bytes; 0 when the upstream has closed.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < READ_MIN / 4
            && !self.input.try_reclaim(self.read_size)
        {
            self.make_room();
        }
        let space = self.input.capacity() - self.input.len();
        let read = pin!(self.stream.read_buf(&mut self.input));
        let Poll::Ready(length) = read.poll(cx)? else {
            self.silent = true;
            return Poll::Pending;
        };
        if std::mem::take(&mut self.silent) {
            self.heard = turn::now();
        }
        if length == space {
            // More is coming than fits, so fewer and larger reads are cheaper.
            self.read_size = (self.read_size * 4).min(READ_MAX);
        }
        Poll::Ready(Ok(length))
    }

    fn make_room(&mut self) {
        if self.input.is_empty() {
            // A larger buffer would be copied with the bytes that were taken already.
            self.input = BytesMut::with_capacity(self.read_size);
        } else {
            self.input.reserve(self.read_size);
        }
    }

    /// Writes all output, down to the socket.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_write(cx, Pin::new(&mut self.stream))
    }

    /// True if the upstream has neither closed nor sent bytes without a request.
    pub fn is_quiet(&mut self) -> bool {
        self.is_quiet_now(&mut Context::from_waker(Waker::noop()))
    }

    /// The same check; `cx` is woken when the result changes.
    pub fn is_quiet_now(&mut self, cx: &mut Context<'_>) -> bool {
        self.input.is_empty() && self.poll_fill(cx).is_pending()
    }

    /// The same check at this very moment: the runtime learns of new input only between two turns.
    pub fn is_quiet_in_the_kernel(&mut self) -> bool {
        self.is_quiet() && !self.stream.has_news()
    }

    /// Prepares to be kept: a quiet connection holds no large buffers.
    pub fn rest(&mut self) {
        self.read_size = READ_MIN;
        if self.input.capacity() > READ_MIN {
            self.input = BytesMut::new();
        }
        self.output.rest(READ_MIN);
    }

    /// The stream, beginning with the bytes that were read and not taken.
    pub fn into_stream(self) -> Box<dyn AnyStream> {
        if self.input.is_empty() {
            return self.stream;
        }
        Box::new(Rewound::new(self.input.freeze(), self.stream))
    }
}

const READ_MIN: usize = 8 << 10;
const READ_MAX: usize = 128 << 10;
