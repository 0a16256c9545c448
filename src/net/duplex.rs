//! A byte stream in both directions over one HTTP/2 stream, once it carries another protocol (RFC 8441, 5).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An HTTP/2 stream as a byte stream.
pub struct Duplex<B: Buf> {
    incoming: RecvStream,
    outgoing: SendStream<B>,
    /// Received bytes that were not read yet.
    unread: Bytes,
}

impl<B: Buf> Duplex<B> {
    pub fn new(incoming: RecvStream, outgoing: SendStream<B>) -> Self {
        Self {
            incoming,
            outgoing,
            unread: Bytes::new(),
        }
    }

    /// Waits for bytes; none are there at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.incoming.poll_data(cx)) {
                Some(Ok(data)) => self.unread = data,
                Some(Err(error)) if is_goodbye(&error) => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<B: Buf> fmt::Debug for Duplex<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duplex").finish_non_exhaustive()
    }
}

impl<B: Buf> AsyncRead for Duplex<B> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_fill(cx))?;
        let length = this.unread.len().min(buf.remaining());
        buf.put_slice(&this.unread.split_to(length));
        // Flow control for the same number of bytes, unless the stream has ended meanwhile.
        let _ended = this.incoming.flow_control().release_capacity(length);
        Poll::Ready(Ok(()))
    }
}

impl<B: Buf + From<Bytes>> AsyncWrite for Duplex<B> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let outgoing = &mut self.get_mut().outgoing;
        ready!(poll_room(outgoing, cx)).map_err(broken)?;
        let piece = buf.get(..PIECE_MAX).unwrap_or(buf);
        let data = Bytes::copy_from_slice(piece);
        outgoing.send_data(data.into(), false).map_err(broken)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = self.get_mut().outgoing.send_data(Bytes::new().into(), true);
        Poll::Ready(ended.map_err(broken))
    }
}

/// The most bytes that wait here for a client that takes only a part of them.
const PIECE_MAX: usize = 16 << 10;

/// Waits until the client takes something on `outgoing`, before a piece is sent that may be longer.
pub fn poll_room<B: Buf>(
    outgoing: &mut SendStream<B>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), h2::Error>> {
    // One byte only: capacity that is requested and not available yet is kept from the connection's other streams.
    outgoing.reserve_capacity(1);
    while outgoing.capacity() == 0 {
        match ready!(outgoing.poll_capacity(cx)) {
            Some(room) => _ = room?,
            // The stream takes nothing any more.
            None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
        }
    }
    Poll::Ready(Ok(()))
}

fn is_goodbye(error: &h2::Error) -> bool {
    matches!(error.reason(), Some(Reason::NO_ERROR | Reason::CANCEL))
}

fn broken(error: h2::Error) -> io::Error {
    match error.reason() {
        Some(Reason::STREAM_CLOSED) => io::Error::new(io::ErrorKind::BrokenPipe, error),
        _ => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use h2::{client, server};
    use http::{Method, Request, Response};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Both ends of one stream between a client and a server.
    async fn pair() -> ((SendStream<Bytes>, RecvStream), Duplex<Bytes>) {
        let (near, far) = tokio::io::duplex(16 << 10);
        let serving = async {
            let mut connection = server::handshake(far).await.unwrap();
            let (request, mut reply) = connection.accept().await.unwrap().unwrap();
            tokio::task::spawn_local(async move { while connection.accept().await.is_some() {} });
            let outgoing = reply.send_response(Response::new(()), false).unwrap();
            Duplex::new(request.into_body(), outgoing)
        };
        let asking = async {
            let (sender, connection) = client::handshake::<_>(near).await.unwrap();
            tokio::task::spawn_local(async { _ = connection.await });
            let request = Request::builder().method(Method::POST).uri("https://a/");
            let request = request.body(()).unwrap();
            let mut sender = sender.ready().await.unwrap();
            let (answer, sending) = sender.send_request(request, false).unwrap();
            (sending, answer.await.unwrap().into_body())
        };
        tokio::join!(asking, serving)
    }

    async fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::task::LocalSet::new().run_until(work).await
    }

    #[tokio::test]
    async fn more_than_a_window_goes_both_ways() {
        let said = vec![7; 300_000];
        let work = async {
            let ((mut sending, mut incoming), stream) = pair().await;
            let (mut read, mut write) = tokio::io::split(stream);
            let echo = async {
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let talk = async {
                sending.send_data(Bytes::from(said.clone()), true).unwrap();
                let mut heard = Vec::new();
                while let Some(piece) = incoming.data().await {
                    let piece = piece.unwrap();
                    let taken = incoming.flow_control().release_capacity(piece.len());
                    taken.unwrap();
                    heard.extend_from_slice(&piece);
                }
                heard
            };
            tokio::join!(talk, echo).0
        };
        assert!(run(work).await == said);
    }

    #[tokio::test]
    async fn a_stream_that_is_taken_back_has_ended_and_a_broken_one_has_failed() {
        let after = async |reason: Reason| {
            let ((mut sending, _incoming), mut stream) = pair().await;
            sending.send_reset(reason);
            let read = stream.read(&mut [0; 8]).await;
            let written = stream.write_all(&vec![0; 100_000]).await;
            (read.ok(), written.is_err())
        };
        assert_eq!(run(after(Reason::CANCEL)).await, (Some(0), true));
        assert_eq!(run(after(Reason::PROTOCOL_ERROR)).await, (None, true));
    }

    /// An orderly end and an abort look different to the client (RFC 8441, 5).
    #[tokio::test]
    async fn what_is_dropped_before_its_end_is_taken_back() {
        let after = async |ended: bool| {
            let ((_sending, mut incoming), mut stream) = pair().await;
            stream.write_all(b"piece").await.unwrap();
            let first = incoming.data().await.unwrap().unwrap();
            assert_eq!(first, "piece");
            if ended {
                stream.shutdown().await.unwrap();
            }
            drop(stream);
            match incoming.data().await {
                Some(Err(error)) => error.reason(),
                Some(Ok(data)) => data.is_empty().then_some(Reason::NO_ERROR),
                None => Some(Reason::NO_ERROR),
            }
        };
        assert_eq!(run(after(true)).await, Some(Reason::NO_ERROR));
        assert_eq!(run(after(false)).await, Some(Reason::CANCEL));
    }

    #[tokio::test]
    async fn what_the_client_does_not_take_waits_here_in_one_piece() {
        let work = async {
            let ((_sending, _incoming), mut stream) = pair().await;
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let mut taken = 0;
            let bytes = vec![7; 100_000];
            while let Poll::Ready(length) = Pin::new(&mut stream).poll_write(&mut cx, &bytes) {
                taken += length.unwrap();
            }
            taken
        };
        // A window of 64 KiB, and the piece that was sent when one byte of it was left.
        let taken = run(work).await;
        assert!(taken < (64 << 10) + 2 * PIECE_MAX, "{taken}");
    }
}
