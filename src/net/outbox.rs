//! Batched writes: the frames that HTTP/2 writes in one turn leave as one TLS record and one system call.
//!
//! HTTP/2 writes each frame and flushes after it. Here a flush is a promise: the bytes are kept until the driver of the
//! connection has polled it and calls [`Outbox::poll_send`]. That has to happen after every poll, and [`Outbox::begin`]
//! before it.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::{strides, turn};

/// The most bytes that are kept: two TLS records. More leave before the turn is over.
const HELD_MAX: usize = 32 << 10;

/// A stream whose writes are kept.
#[derive(Debug)]
pub struct Gathered<S>(Rc<RefCell<Held<S>>>);

/// The other end of a [`Gathered`] stream, which sends the kept bytes.
#[derive(Debug)]
pub struct Outbox<S>(Rc<RefCell<Held<S>>>);

#[derive(Debug)]
struct Held<S> {
    stream: S,
    /// Bytes that were not sent yet. No memory is allocated while there are none.
    bytes: Vec<u8>,
    sent: usize,
    /// The error of the last send, for the next write.
    failed: Option<io::Error>,
    /// True if a write in this turn was put off for want of room.
    behind: bool,
    /// True once a read in this turn found nothing more. HTTP/2 reads again for each request that it hands out.
    dry: bool,
    /// The time of the last read that returned bytes.
    heard: Instant,
}

/// Keeps the bytes that are written to `stream` until [`Outbox::poll_send`].
pub fn gather<S>(stream: S) -> (Gathered<S>, Outbox<S>) {
    let held = Rc::new(RefCell::new(Held {
        stream,
        bytes: Vec::new(),
        sent: 0,
        failed: None,
        behind: false,
        dry: false,
        heard: turn::now(),
    }));
    (Gathered(Rc::clone(&held)), Outbox(held))
}

impl<S> Outbox<S> {
    /// The stream, for last bytes behind those of HTTP/2.
    pub fn stream(&self) -> Gathered<S> {
        Gathered(Rc::clone(&self.0))
    }

    /// True if HTTP/2 has more to send than was taken in this turn.
    pub fn is_behind(&self) -> bool {
        self.0.borrow().behind
    }

    /// Begins a turn, in which a read may find bytes again.
    pub fn begin(&self) {
        let mut held = self.0.borrow_mut();
        held.dry = false;
        held.behind = false;
    }

    /// The time at which the last bytes came from the peer.
    pub fn heard(&self) -> Instant {
        self.0.borrow().heard
    }
}

impl<S: AsyncWrite + Unpin> Outbox<S> {
    /// Sends the kept bytes. A failure is the result of the next write; the task is woken so that there is one.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut held = self.0.borrow_mut();
        if let Err(error) = ready!(held.poll_send(cx)) {
            held.failed = Some(error);
            cx.waker().wake_by_ref();
        }
        Poll::Ready(())
    }
}

impl<S: AsyncWrite + Unpin> Held<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while let Some(left) = self.bytes.get(self.sent..).filter(|left| !left.is_empty()) {
            let length = ready!(Pin::new(&mut self.stream).poll_write(cx, left))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += length;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.bytes = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Takes a write, and notes if it has to wait.
    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = self.poll_keep(cx, parts);
        self.behind = taken.is_pending();
        taken
    }

    fn poll_keep(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let length = parts.iter().map(|part| part.len()).sum();
        if self.bytes.len() + length > HELD_MAX {
            ready!(self.poll_send(cx))?;
        }
        if length > HELD_MAX {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(HELD_MAX);
        }
        for part in parts {
            strides::append(&mut self.bytes, part);
        }
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut held = self.0.borrow_mut();
        if held.dry {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut held.stream).poll_read(cx, buf);
        held.dry = polled.is_pending();
        if buf.filled().len() > before {
            held.heard = turn::now();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_take(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_take(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.borrow_mut().failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.0.borrow_mut();
        ready!(held.poll_send(cx))?;
        Pin::new(&mut held.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// A stream that takes `room` bytes and then waits; it breaks when there is no room at all.
    #[derive(Debug, Default)]
    struct Narrow {
        taken: Vec<u8>,
        writes: usize,
        room: usize,
        broken: bool,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.broken {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let length = buf.len().min(self.room);
            if length == 0 {
                return Poll::Pending;
            }
            self.room -= length;
            self.writes += 1;
            self.taken.extend_from_slice(&buf[..length]);
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn narrow(room: usize) -> (Gathered<Narrow>, Outbox<Narrow>) {
        gather(Narrow {
            room,
            ..Narrow::default()
        })
    }

    fn send(outbox: &Outbox<Narrow>) -> Poll<()> {
        outbox.poll_send(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_written_in_one_turn_leaves_in_one_write() {
        let (mut stream, outbox) = narrow(usize::MAX);
        for _ in 0..10 {
            stream.write_all(b"frame").await.unwrap();
            stream.flush().await.unwrap();
        }
        assert_eq!(outbox.0.borrow().stream.writes, 0);
        assert_eq!(send(&outbox), Poll::Ready(()));
        let held = outbox.0.borrow();
        assert_eq!(held.stream.writes, 1);
        assert_eq!(held.stream.taken, b"frame".repeat(10));
        assert_eq!(held.bytes.capacity(), 0, "nothing is held while idle");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_peer_that_does_not_read_gets_the_rest_later() {
        let (mut stream, outbox) = narrow(3);
        stream.write_all(b"frame").await.unwrap();
        assert!(send(&outbox).is_pending());
        outbox.0.borrow_mut().stream.room = 10;
        assert!(send(&outbox).is_ready());
        assert_eq!(outbox.0.borrow().stream.taken, b"frame");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_kept_is_bounded_and_whole() {
        let (mut stream, outbox) = narrow(0);
        let mut cx = Context::from_waker(Waker::noop());
        let piece = [7_u8; 10_000];
        let mut taken = 0;
        while Pin::new(&mut stream).poll_write(&mut cx, &piece).is_ready() {
            taken += piece.len();
        }
        assert_eq!(taken, 30_000);
        outbox.0.borrow_mut().stream.room = usize::MAX;
        stream.write_all(&vec![7; 100_000]).await.unwrap();
        assert!(send(&outbox).is_ready());
        assert_eq!(outbox.0.borrow().stream.taken, vec![7; 130_000]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_broken_connection_is_told_to_the_next_who_writes() {
        let (mut stream, outbox) = narrow(10);
        stream.write_all(b"frame").await.unwrap();
        outbox.0.borrow_mut().stream.broken = true;
        assert!(send(&outbox).is_ready());
        let failed = stream.flush().await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nothing_is_left_behind_at_the_end() {
        let (mut stream, outbox) = narrow(10);
        stream.write_all(b"goodbye").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(outbox.0.borrow().stream.taken, b"goodbye");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_stream_that_is_dry_is_asked_again_in_the_next_turn() {
        let (mut far, near) = tokio::io::duplex(64);
        let (mut stream, outbox) = gather(near);
        let mut cx = Context::from_waker(Waker::noop());
        let mut read = || {
            let mut bytes = [0; 8];
            let mut buf = ReadBuf::new(&mut bytes);
            let polled = Pin::new(&mut stream).poll_read(&mut cx, &mut buf);
            polled.map(|_| buf.filled().len())
        };
        let begun = outbox.heard();
        outbox.begin();
        assert!(read().is_pending());
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        far.write_all(b"frame").await.unwrap();
        assert!(read().is_pending(), "in the same turn");
        assert_eq!(outbox.heard(), begun);
        outbox.begin();
        assert_eq!(read(), Poll::Ready(5));
        assert!(outbox.heard() > begun);
        drop(far);
        assert_eq!(read(), Poll::Ready(0), "the end is no sign of life");
    }
}
