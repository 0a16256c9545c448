//! The rest of a request after its answer: read and discarded within limits. Closing a connection with unread bytes
//! resets it, and the peer loses the answer (RFC 9112, 9.6).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// Limits on the bytes that are discarded after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discard {
    /// Bytes in total. Sending costs a client as much as reading costs us, so this is far more than most bodies.
    pub bytes: u64,
    /// The time after the answer, at any pace.
    pub time: Duration,
    /// The longest pause between two pieces.
    pub pause: Duration,
}

impl Default for Discard {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            time: Duration::from_secs(30),
            pause: Duration::from_secs(5),
        }
    }
}

impl Discard {
    /// The same limits with a shorter time, for a peer that was too slow with its request.
    #[must_use]
    pub fn briefly(self) -> Self {
        Self {
            time: self.time.min(BRIEFLY),
            ..self
        }
    }

    /// Limits for a peer whose handshake is refused.
    pub const STRANGER: Self = Self {
        bytes: 64 << 20,
        time: Duration::from_secs(10),
        pause: Duration::from_secs(1),
    };
}

/// Closes the sending side, and reads until the peer closes too or a limit is reached.
///
/// An error means that the peer has gone, which ends the wait as well.
pub async fn discard_rest<S>(stream: &mut S, bounds: &Discard) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let over = Instant::now() + bounds.time;
    timeout_at(over, stream.shutdown()).await??;
    let mut left = bounds.bytes;
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let within = over.min(Instant::now() + bounds.pause);
        let length = timeout_at(within, stream.read(&mut piece)).await??;
        if length == 0 {
            break;
        }
        left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(())
}

const PIECE: usize = 16 << 10;
/// Enough time for an answer to arrive.
const BRIEFLY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{DuplexStream, duplex};

    /// The time for which a peer with this behaviour is read from.
    async fn heard<F>(peer: impl FnOnce(DuplexStream) -> F) -> Duration
    where
        F: Future<Output = DuplexStream>,
    {
        let (mut ours, theirs) = duplex(64 << 10);
        let began = Instant::now();
        let bounds = Discard::default();
        let heard = async {
            let _left = discard_rest(&mut ours, &bounds).await;
            let took = began.elapsed();
            drop(ours);
            took
        };
        let (took, _kept) = tokio::join!(heard, peer(theirs));
        took
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_heard_out_to_its_end() {
        let took = heard(async |mut peer| {
            peer.write_all(&vec![7; 1 << 20]).await.unwrap();
            assert_eq!(peer.read(&mut [0]).await.unwrap(), 0, "it was told");
            peer.shutdown().await.unwrap();
            peer
        });
        assert_eq!(took.await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_has_nothing_to_say_is_waited_for_a_moment() {
        let bounds = Discard::default();
        assert_eq!(heard(async |peer| peer).await, bounds.pause);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_without_an_end_is_left() {
        let bounds = Discard::default();
        let drips = async |mut peer: DuplexStream| {
            while peer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            peer
        };
        assert_eq!(heard(drips).await, bounds.time);
        let floods = async |mut peer: DuplexStream| {
            let mut sent = 0;
            while peer.write_all(&[7; 4096]).await.is_ok() {
                sent += 4096;
            }
            assert!(
                sent >= bounds.bytes && sent < bounds.bytes + (1 << 20),
                "{sent}"
            );
            peer
        };
        assert_eq!(heard(floods).await, Duration::ZERO);
    }
}
