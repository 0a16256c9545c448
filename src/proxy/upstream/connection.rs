//! One HTTP/1.1 connection to an upstream: its stream, and what is on the way in and out.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use super::deadline::Deadline;
use crate::net::stream::{Rewound, UpstreamIo};

/// A connection that speaks HTTP/1.1.
pub struct Connection {
    stream: Box<dyn UpstreamIo>,
    /// Read and not yet taken.
    pub input: BytesMut,
    pub output: Output,
    pub deadline: Deadline,
    pub opened: Instant,
    read_size: usize,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("stream", &self.stream)
            .field("input", &self.input.len())
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub fn new(stream: Box<dyn UpstreamIo>) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: Output::default(),
            deadline: Deadline::after(Duration::from_mins(1)),
            opened: Instant::now(),
            read_size: READ_MIN,
        }
    }

    /// Reads what is there; 0 when the upstream has closed.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < READ_MIN / 4 {
            self.input.reserve(self.read_size);
        }
        let space = self.input.capacity() - self.input.len();
        let read = pin!(self.stream.read_buf(&mut self.input));
        let length = ready!(read.poll(cx))?;
        if length == space {
            // More is coming than fits, so fewer and larger reads are cheaper.
            self.read_size = (self.read_size * 2).min(READ_MAX);
        }
        Poll::Ready(Ok(length))
    }

    /// Writes everything that waits, down to the socket.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        while !self.output.is_empty() {
            let length = ready!(self.output.poll_once(cx, stream.as_mut()))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(length);
        }
        stream.poll_flush(cx)
    }

    /// Whether the upstream has neither closed nor sent bytes that nobody asked for.
    pub fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.input.is_empty() && self.poll_fill(&mut cx).is_pending()
    }

    /// Gets ready to be kept: a quiet connection holds no large buffers.
    pub fn rest(&mut self) {
        self.read_size = READ_MIN;
        if self.input.capacity() > READ_MIN {
            self.input = BytesMut::new();
        }
        self.output.rest();
    }

    /// The stream, beginning with what was read and not taken.
    pub fn into_stream(self) -> Box<dyn UpstreamIo> {
        if self.input.is_empty() {
            return self.stream;
        }
        Box::new(Rewound::new(self.input.freeze(), self.stream))
    }
}

/// What is to be written: bytes of our own making, then a piece of a body that is not copied.
#[derive(Debug, Default)]
pub struct Output {
    pub own: Vec<u8>,
    own_written: usize,
    pub piece: Bytes,
}

impl Output {
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.piece.is_empty()
    }

    fn poll_once(
        &self,
        cx: &mut Context<'_>,
        stream: Pin<&mut Box<dyn UpstreamIo>>,
    ) -> Poll<io::Result<usize>> {
        let own = self.own.get(self.own_written..).unwrap_or(&[]);
        match (own.is_empty(), self.piece.is_empty()) {
            (false, false) if stream.is_write_vectored() => {
                stream.poll_write_vectored(cx, &[IoSlice::new(own), IoSlice::new(&self.piece)])
            }
            (false, _) => stream.poll_write(cx, own),
            (true, _) => stream.poll_write(cx, &self.piece),
        }
    }

    fn advance(&mut self, length: usize) {
        let of_own = length.min(self.own.len() - self.own_written);
        self.own_written += of_own;
        if self.own_written == self.own.len() {
            self.own.clear();
            self.own_written = 0;
        }
        self.piece.advance((length - of_own).min(self.piece.len()));
    }

    fn rest(&mut self) {
        self.piece = Bytes::new();
        if self.own.capacity() > READ_MIN {
            self.own = Vec::new();
        }
    }
}

const READ_MIN: usize = 8 << 10;
const READ_MAX: usize = 128 << 10;
