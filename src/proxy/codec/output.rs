//! The output buffer of a connection: as few writes as its parts allow.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use tokio::io::AsyncWrite;

use super::chunked;

/// Bytes to write: some of our own making, then a piece of a body that is not copied.
#[derive(Debug, Default)]
pub struct Output {
    pub own: Vec<u8>,
    own_written: usize,
    piece: Bytes,
    /// True if the piece is a chunk, which CRLF ends.
    in_chunk: bool,
}

impl Output {
    /// True if another piece may be added before the next write. Ends the chunk that was written, so that it does not
    /// wait for a next one.
    pub fn has_room(&mut self) -> bool {
        if self.piece.is_empty() {
            self.end_chunk();
        }
        self.piece.is_empty() && self.own.len() < COPIED_MAX
    }

    /// Adds a piece of a body, as a chunk of its own if the body is chunked. There has to be room.
    pub fn put(&mut self, data: Bytes, chunked: bool) {
        if data.is_empty() {
            return;
        }
        if chunked {
            chunked::put_size(&mut self.own, data.len());
        }
        self.in_chunk = chunked;
        if data.len() > COPIED_MAX / 2 {
            self.piece = data;
            return;
        }
        self.own.extend_from_slice(&data);
        self.end_chunk();
    }

    /// Adds the end of a chunked body. There has to be room.
    pub fn put_end(&mut self, trailers: Option<&HeaderMap>) {
        chunked::put_end(&mut self.own, trailers);
    }

    fn end_chunk(&mut self) {
        if std::mem::take(&mut self.in_chunk) {
            self.own.extend_from_slice(b"\r\n");
        }
    }

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
        if self.piece.is_empty() {
            // The owner of its buffer may use that again.
            self.piece = Bytes::new();
        }
    }

    /// Provides a buffer for bytes of our own, if there is none: the last one that a connection on this thread gave
    /// back, which is still in the processor's cache.
    pub fn make_ready(&mut self) {
        if self.own.capacity() == 0 {
            self.own = SPARE.take();
        }
    }

    /// Gives back the memory that a quiet connection does not need.
    pub fn rest(&mut self, kept_max: usize) {
        self.piece = Bytes::new();
        if self.own.capacity() > kept_max {
            self.own.clear();
            self.own_written = 0;
            keep_spare(std::mem::take(&mut self.own));
        }
    }
}

thread_local! {
    /// An unused buffer. Thousands of connections that answer in turns share it, and none of them holds it while it
    /// waits.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Keeps the larger of `room` and the kept buffer, within its limit.
fn keep_spare(room: Vec<u8>) {
    let kept = SPARE.take();
    let room_fits = room.capacity() <= SPARE_MAX;
    SPARE.set(if room_fits && room.capacity() > kept.capacity() {
        room
    } else {
        kept
    });
}

/// The largest buffer that is kept. Heads and small bodies fit; the buffer of a large head is freed.
const SPARE_MAX: usize = 2 * COPIED_MAX;

/// Smaller pieces are copied behind the head or each other: a write, and a record under TLS, cost more than copying so
/// many bytes.
pub const COPIED_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn written(output: &mut Output) -> String {
        let mut out = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        let polled = output.poll_write(&mut cx, Pin::new(&mut out));
        assert!(matches!(polled, Poll::Ready(Ok(()))) && output.is_empty());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn small_pieces_are_written_together_and_large_ones_as_they_are() {
        let mut output = Output::default();
        for text in ["ab", "", "c"] {
            assert!(output.has_room());
            output.put(Bytes::from(text), true);
        }
        let large = Bytes::from("x".repeat(COPIED_MAX));
        output.put(large.clone(), true);
        assert!(!output.has_room());
        let expected = format!("2\r\nab\r\n1\r\nc\r\n4000\r\n{}", "x".repeat(COPIED_MAX));
        assert_eq!(written(&mut output), expected);
        assert!(output.has_room());
        assert_eq!(
            written(&mut output),
            "\r\n",
            "a chunk ends without a next one"
        );
        assert!(output.has_room());
        output.put_end(None);
        assert_eq!(written(&mut output), "0\r\n\r\n");
        output.put(large.clone(), false);
        assert_eq!(written(&mut output), large);
        assert!(output.has_room() && output.is_empty());
    }

    #[test]
    fn who_rests_leaves_its_room_to_the_next_and_nothing_in_it() {
        let (mut first, mut second) = (Output::default(), Output::default());
        first.make_ready();
        first.own.extend_from_slice(b"of the first");
        assert_eq!(written(&mut first), "of the first");
        let room = first.own.capacity();
        first.rest(0);
        assert_eq!(first.own.capacity(), 0);
        second.make_ready();
        assert_eq!(second.own.capacity(), room);
        assert!(second.is_empty());
        first.make_ready();
        assert_eq!(first.own.capacity(), 0, "there is one spare");
        first.own.reserve(SPARE_MAX + 1);
        first.rest(0);
        first.make_ready();
        assert_eq!(first.own.capacity(), 0, "what is too large is let go");
    }
}
