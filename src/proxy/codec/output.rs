//! What is to be written to a connection, in as few writes as its parts allow.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

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

    /// Writes everything, down to the socket.
    pub fn poll_write<S: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        mut stream: Pin<&mut S>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let length = ready!(self.poll_once(cx, stream.as_mut()))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(length);
        }
        stream.poll_flush(cx)
    }

    fn poll_once<S: AsyncWrite>(
        &self,
        cx: &mut Context<'_>,
        stream: Pin<&mut S>,
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

    /// Gives back what a quiet connection does not need.
    pub fn rest(&mut self, kept_max: usize) {
        self.piece = Bytes::new();
        if self.own.capacity() > kept_max {
            self.own = Vec::new();
        }
    }
}
