//! Delayed writes: the last messages of a TLS handshake leave with the first answer.
//!
//! A TLS 1.3 client needs nothing more once its handshake is finished; the session tickets that follow are for later
//! connections. A packet of their own would cost as much as the answer's.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The stream under TLS.
///
/// Corked, it keeps written bytes until a read finds nothing: then the peer may itself be waiting for them. Uncorked,
/// it sends the kept bytes with the next write, or at a flush.
#[derive(Debug)]
pub struct Corked<S> {
    stream: S,
    /// Bytes that were not sent yet. No memory is allocated while there are none.
    kept: Vec<u8>,
    keeps: bool,
}

impl<S> Corked<S> {
    pub fn keeping(stream: S) -> Self {
        Self {
            stream,
            kept: Vec::new(),
            keeps: true,
        }
    }

    pub fn open(stream: S) -> Self {
        Self {
            keeps: false,
            ..Self::keeping(stream)
        }
    }

    /// The stream, without the kept bytes.
    pub fn into_inner(self) -> S {
        self.stream
    }

    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Ends the delay: later writes are sent at once, behind the kept bytes.
    pub fn uncork(&mut self) {
        self.keeps = false;
    }
}

impl<S: AsyncWrite + Unpin> Corked<S> {
    /// Sends the kept bytes.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let length = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.kept))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.kept.drain(..length);
        }
        if self.kept.capacity() > 0 {
            self.kept = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_parts(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.keeps && self.kept.is_empty() {
            return write_parts(Pin::new(&mut self.stream), cx, parts);
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.kept.len() + length > KEPT_MAX {
            ready!(self.poll_send(cx))?;
            return write_parts(Pin::new(&mut self.stream), cx, parts);
        }
        for part in parts {
            self.kept.extend_from_slice(part);
        }
        if !self.keeps
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            return Poll::Ready(Err(error));
        }
        // The flush that follows every write sends the remaining bytes.
        Poll::Ready(Ok(length))
    }
}

/// The most bytes that are kept: more than any handshake writes at once, except for the longest certificate chains,
/// which leave immediately.
const KEPT_MAX: usize = 16 << 10;

/// Writes the parts. A single part needs no list, which the kernel would have to read first.
fn write_parts<S: AsyncWrite>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match parts {
        [only] => stream.poll_write(cx, only),
        parts => stream.poll_write_vectored(cx, parts),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if this.keeps
            && polled.is_pending()
            && let Poll::Ready(Err(error)) = this.poll_send(cx)
        {
            return Poll::Ready(Err(error));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_parts(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_parts(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.keeps {
            ready!(this.poll_send(cx))?;
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    /// A wire that records each write that reaches it.
    #[derive(Debug)]
    struct Wire {
        stream: DuplexStream,
        writes: Vec<Vec<u8>>,
        lists: usize,
    }

    impl AsyncRead for Wire {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Wire {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            let length = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
            this.writes.push(buf[..length].to_vec());
            Poll::Ready(Ok(length))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            this.lists += 1;
            let together: Vec<u8> = bufs.iter().flat_map(|part| part.to_vec()).collect();
            Pin::new(this).poll_write(cx, &together)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().stream).poll_flush(cx)
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
        }
    }

    fn wire(room: usize) -> (Wire, DuplexStream) {
        let (stream, peer) = duplex(room);
        let wire = Wire {
            stream,
            writes: Vec::new(),
            lists: 0,
        };
        (wire, peer)
    }

    #[tokio::test]
    async fn what_was_kept_goes_when_the_other_side_is_waited_for() {
        let (wire, mut peer) = wire(1 << 16);
        let mut corked = Corked::keeping(wire);
        corked.write_all(b"hello, ").await.unwrap();
        corked.write_all(b"peer").await.unwrap();
        corked.flush().await.unwrap();
        assert!(corked.stream.writes.is_empty());
        let answer = async {
            let mut heard = [0; 11];
            peer.read_exact(&mut heard).await.unwrap();
            peer.write_u8(1).await.unwrap();
        };
        let (answered, ()) = tokio::join!(corked.read_u8(), answer);
        assert_eq!(answered.unwrap(), 1);
        assert_eq!(corked.stream.writes, [b"hello, peer"]);
    }

    #[tokio::test]
    async fn what_was_kept_leaves_with_what_comes_next() {
        let (wire, _peer) = wire(1 << 16);
        let mut stream = Corked::keeping(wire);
        stream.write_all(b"tickets").await.unwrap();
        stream.uncork();
        assert!(stream.stream.writes.is_empty());
        stream.write_all(b" and answer").await.unwrap();
        assert_eq!(stream.stream.writes, [b"tickets and answer"]);
        assert_eq!(stream.kept.capacity(), 0, "nothing is held any more");
        stream.write_all(b"next").await.unwrap();
        assert_eq!(stream.stream.writes.len(), 2);
    }

    #[tokio::test]
    async fn a_flush_sends_what_was_kept_once_it_is_uncorked() {
        let (wire, _peer) = wire(1 << 16);
        let mut stream = Corked::keeping(wire);
        stream.write_all(b"tickets").await.unwrap();
        stream.uncork();
        stream.flush().await.unwrap();
        assert_eq!(stream.stream.writes, [b"tickets"]);
    }

    #[tokio::test]
    async fn one_part_is_written_plainly_and_several_as_a_list() {
        let (wire, _peer) = wire(1 << 16);
        let mut stream = Corked::open(wire);
        let (one, other) = (IoSlice::new(b"a"), IoSlice::new(b"b"));
        assert_eq!(stream.write_vectored(&[one]).await.unwrap(), 1);
        assert_eq!(stream.stream.lists, 0);
        assert_eq!(stream.write_vectored(&[one, other]).await.unwrap(), 2);
        assert_eq!(stream.stream.lists, 1);
    }

    /// Any capacity of the network, pieces longer than the limit, and any moment of uncorking.
    #[tokio::test]
    async fn no_byte_is_lost_or_moved() {
        for (room, length) in [(1, 100), (7, KEPT_MAX), (1000, 3 * KEPT_MAX)] {
            let (wire, mut peer) = wire(room);
            let expected: Vec<u8> = (0..=250).cycle().take(length * 3).collect();
            let sent = expected.clone();
            let write = async move {
                let mut stream = Corked::keeping(wire);
                for (turn, part) in sent.chunks(length).enumerate() {
                    if turn == 1 {
                        stream.uncork();
                    }
                    stream.write_all(part).await.unwrap();
                    if turn == 1 {
                        stream.flush().await.unwrap();
                    }
                }
                stream.shutdown().await.unwrap();
            };
            let mut heard = Vec::new();
            let (read, ()) = tokio::join!(peer.read_to_end(&mut heard), write);
            read.unwrap();
            assert!(heard == expected, "{length} bytes through {room}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_has_left_is_an_error() {
        let (wire, peer) = wire(1 << 16);
        drop(peer);
        let mut stream = Corked::keeping(wire);
        stream.write_all(b"kept").await.unwrap();
        stream.uncork();
        assert!(stream.write_all(b"more").await.is_err());
    }
}
