//! Tunnels: the bytes of an upgraded connection, copied both ways until both sides are done or nothing moves.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::net::stream::AnyStream;
use crate::proxy::upstream::deadline::Deadline;

/// A client's connection, or stream of one, once its answer has switched protocols.
#[derive(Debug)]
pub struct Upgrade(oneshot::Receiver<Box<dyn AnyStream>>);

/// The sender of the connection, or stream, to its [`Upgrade`].
#[derive(Debug)]
pub struct UpgradeSender(oneshot::Sender<Box<dyn AnyStream>>);

impl Upgrade {
    /// An upgrade that can be agreed to, and the sender that completes it.
    pub fn offered() -> (UpgradeSender, Self) {
        let (handover, stream) = oneshot::channel();
        (UpgradeSender(handover), Self(stream))
    }

    /// Waits for the stream; `None` when the client has left before.
    pub async fn stream(self) -> Option<Box<dyn AnyStream>> {
        self.0.await.ok()
    }
}

impl UpgradeSender {
    /// True if the upgrade was agreed to, by keeping the [`Upgrade`].
    pub fn is_awaited(&self) -> bool {
        !self.0.is_closed()
    }

    /// Hands `stream` over. If the receiver has left, it is closed.
    pub fn hand_over(self, stream: Box<dyn AnyStream>) {
        let _left = self.0.send(stream);
    }
}

/// Copies bytes between a client, once its side has been upgraded, and an upstream.
///
/// Ends when both have closed, when one breaks, or when nothing has moved for `idle`. `done` gets the bytes that came
/// from the client and those that went to it, in every case.
pub async fn tunnel<F>(client: Upgrade, upstream: Box<dyn AnyStream>, idle: Duration, done: F)
where
    F: FnOnce(u64, u64),
{
    let mut counts = Counts {
        done: Some(done),
        inward: 0,
        outward: 0,
    };
    if let Some(client) = client.stream().await {
        carry(client, upstream, idle, &mut counts).await;
    }
}

/// A counter that reports when it is dropped, so that a tunnel which is cut off is counted as well.
struct Counts<F: FnOnce(u64, u64)> {
    done: Option<F>,
    inward: u64,
    outward: u64,
}

impl<F: FnOnce(u64, u64)> Drop for Counts<F> {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(self.inward, self.outward);
        }
    }
}

async fn carry<C, U, F>(mut client: C, mut upstream: U, idle: Duration, counts: &mut Counts<F>)
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
    F: FnOnce(u64, u64),
{
    let (mut inward, mut outward) = (Pipe::new(), Pipe::new());
    let mut deadline = Deadline::after(idle);
    let ended: io::Result<()> = poll_fn(|cx| {
        let before = inward.moved + outward.moved;
        let one = inward.poll(cx, &mut client, &mut upstream)?;
        let other = outward.poll(cx, &mut upstream, &mut client)?;
        (counts.inward, counts.outward) = (inward.moved, outward.moved);
        if one.is_ready() && other.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if inward.moved + outward.moved != before {
            deadline.set(idle);
        }
        ready!(deadline.poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a tunnel ended early");
    }
}

/// One direction.
struct Pipe {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    state: State,
    moved: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The source has ended, and the destination has not been closed yet.
    Ending,
    Ended,
}

impl Pipe {
    fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            state: State::Open,
            moved: 0,
        }
    }

    /// Ready when the source has ended and the destination has been closed.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if let Some(waiting) = self.buffer.get(self.start..self.end)
                && !waiting.is_empty()
            {
                let length = ready!(Pin::new(&mut *to).poll_write(cx, waiting))?;
                if length == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.start += length;
                self.moved += length as u64;
                continue;
            }
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Ended;
                }
                State::Open => {
                    let mut read = ReadBuf::new(&mut self.buffer);
                    match Pin::new(&mut *from).poll_read(cx, &mut read) {
                        Poll::Ready(result) => result?,
                        Poll::Pending => {
                            // Nothing more for now, so written bytes must not stay in a buffer.
                            ready!(Pin::new(&mut *to).poll_flush(cx))?;
                            return Poll::Pending;
                        }
                    }
                    (self.start, self.end) = (0, read.filled().len());
                    if self.end == 0 {
                        self.state = State::Ending;
                    }
                }
            }
        }
    }
}

/// The buffer of one direction; a quiet tunnel holds two.
const BUFFER: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn tunnelled(
        idle: Duration,
    ) -> (
        tokio::io::DuplexStream,
        tokio::io::DuplexStream,
        impl Future<Output = (u64, u64)>,
    ) {
        let (client, ours) = duplex(64);
        let (theirs, upstream) = duplex(64);
        let carried = async move {
            let seen = Cell::new((0, 0));
            let mut counts = Counts {
                done: Some(|inward, outward| seen.set((inward, outward))),
                inward: 0,
                outward: 0,
            };
            carry(ours, theirs, idle, &mut counts).await;
            drop(counts);
            seen.get()
        };
        (client, upstream, carried)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn bytes_go_both_ways_and_one_side_may_end_first() {
        let (mut client, mut upstream, carried) = tunnelled(Duration::from_secs(5));
        let talk = async {
            client.write_all(&vec![b'x'; 20_000]).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let listen = async {
            let mut heard = Vec::new();
            upstream.read_to_end(&mut heard).await.unwrap();
            upstream.write_all(b"goodbye").await.unwrap();
            drop(upstream);
            heard.len()
        };
        let (answer, heard, counts) = tokio::join!(talk, listen, carried);
        assert_eq!((answer.as_slice(), heard), (&b"goodbye"[..], 20_000));
        assert_eq!(counts, (20_000, 7));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_tunnel_in_which_nothing_moves_is_closed() {
        let (_client, mut upstream, carried) = tunnelled(Duration::from_millis(30));
        upstream.write_all(b"hello").await.unwrap();
        assert_eq!(carried.await, (0, 5));
    }
}
