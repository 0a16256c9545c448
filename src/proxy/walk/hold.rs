//! The step that holds: the body of a signed request is read whole, and compared with the digests that were signed, before
//! anything of the request is forwarded.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::crypto::content_digest::digest;
use crate::domain::permit::{Held, ToUpstream};
use crate::domain::reason::Reason;

use crate::proxy::bodies::held::{Gathered, HeldBody, HeldBytes, Room};
use crate::proxy::messages::error::Error;

/// The time in which a held body has to arrive. It has memory while it does, which a slow sender would keep for hours
/// at the least rate of a body. The largest one, 16 MiB, comes in this time at 5 Mbit/s.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Reads a body of at most `bytes_max` bytes, which it bounds itself, and releases the permit if it is the signed one.
pub async fn verify<B>(
    held: Held,
    body: B,
    bytes_max: u64,
    bytes: &Rc<HeldBytes>,
) -> Result<(ToUpstream, HeldBody), Error>
where
    B: Body<Data = Bytes, Error = Error>,
{
    let room = Room::of(bytes, held.app());
    let most = body.size_hint().upper().unwrap_or(bytes_max);
    let gathered = Gathered::new(room, most.min(bytes_max));
    let (whole, room) = arrive(body, gathered).await?.whole();
    let (permit, body) = held.release(whole, digest).map_err(Error::downstream)?;
    Ok((permit, HeldBody::new(body, room)))
}

/// Reads a body, which has to arrive in time.
async fn arrive<B>(body: B, gathered: Gathered) -> Result<Gathered, Error>
where
    B: Body<Data = Bytes, Error = Error>,
{
    let arrived = timeout(ARRIVAL, gather(body, gathered)).await;
    arrived.map_err(|late| Error::downstream(Reason::BodyTimeout).because(late))?
}

/// Reads a body into one buffer. Each frame is dropped at once: small ones cost much more than their bytes.
async fn gather<B>(body: B, mut gathered: Gathered) -> Result<Gathered, Error>
where
    B: Body<Data = Bytes, Error = Error>,
{
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            let appended = gathered.append(&piece);
            appended.ok_or_else(|| Error::downstream(Reason::Overloaded))?;
        }
    }
    Ok(gathered)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use http_body::Frame;

    use super::*;
    use crate::domain::id::AppId;

    const APP: AppId = AppId::from_bits(1);

    /// A frame whose memory is known to be given back.
    struct Piece {
        _alive: Arc<()>,
    }

    impl AsRef<[u8]> for Piece {
        fn as_ref(&self) -> &[u8] {
            b"x"
        }
    }

    /// A body of many frames of one byte, which comes to its end or stalls.
    struct Pieces {
        left: VecDeque<Bytes>,
        alive: Arc<()>,
        stalls: bool,
    }

    impl Pieces {
        fn new(count: usize, stalls: bool) -> Self {
            Self {
                left: std::iter::repeat_n(Bytes::from_static(b"x"), count).collect(),
                alive: Arc::default(),
                stalls,
            }
        }
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            assert_eq!(Arc::strong_count(&self.alive), 1, "the last frame is kept");
            if self.left.pop_front().is_some() {
                let piece = Bytes::from_owner(Piece {
                    _alive: Arc::clone(&self.alive),
                });
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if self.stalls {
                Poll::Pending
            } else {
                Poll::Ready(None)
            }
        }
    }

    #[tokio::test]
    async fn small_frames_cost_no_more_than_their_bytes() {
        let bytes = Rc::default();
        let gathered = Gathered::new(Room::of(&bytes, APP), 10_000);
        let gathered = gather(Pieces::new(10_000, false), gathered).await.unwrap();
        assert_eq!(bytes.all(), 10_000);
        let (whole, room) = gathered.whole();
        assert_eq!(whole, vec![b'x'; 10_000]);
        drop(room);
        assert_eq!(bytes.all(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_room_for_what_has_come_and_for_a_while() {
        let bytes = Rc::default();
        let most = 1 << 20;
        let gathered = Gathered::new(Room::of(&bytes, APP), most);
        let mut arriving = pin!(arrive(Pieces::new(5000, true), gathered));
        let half = timeout(ARRIVAL / 2, arriving.as_mut()).await;
        assert!(half.is_err(), "it is waited for");
        assert!((5000..=10_000).contains(&bytes.all()), "{}", bytes.all());
        let late = arriving.await.unwrap_err();
        assert_eq!(late.reason, Reason::BodyTimeout);
        assert_eq!(bytes.all(), 0);
    }
}
