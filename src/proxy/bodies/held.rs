//! Bodies that are held: the one kind that is in memory as a whole, of signed requests, within a bound.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use crate::proxy::messages::error::Error;

/// The bytes of bodies that one worker holds at a time. Only callers whose signature has been verified have any here.
const HELD_BYTES_MAX: u64 = 64 << 20;

/// The bytes of bodies that a worker holds.
#[derive(Debug, Default)]
pub struct HeldBytes(Cell<u64>);

/// Room for a body, until it has left.
#[derive(Debug)]
pub struct Room {
    of: Rc<HeldBytes>,
    bytes: u64,
}

impl Room {
    pub fn take(of: &Rc<HeldBytes>, bytes: u64) -> Option<Self> {
        let all = of.0.get().checked_add(bytes)?;
        if all > HELD_BYTES_MAX {
            return None;
        }
        of.0.set(all);
        Some(Self {
            of: Rc::clone(of),
            bytes,
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let held = &self.of.0;
        held.set(held.get().saturating_sub(self.bytes));
    }
}

/// A body that is held, with its room.
#[derive(Debug)]
pub struct HeldBody {
    body: Full<Bytes>,
    _room: Room,
}

impl HeldBody {
    pub fn new(body: Bytes, room: Room) -> Self {
        Self {
            body: Full::new(body),
            _room: room,
        }
    }
}

impl Body for HeldBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        polled.map(|frame| frame.map(|frame| frame.map_err(|never: Infallible| match never {})))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_holds_so_much_and_no_more() {
        let bytes = Rc::new(HeldBytes::default());
        let first = Room::take(&bytes, HELD_BYTES_MAX - 1).unwrap();
        assert!(Room::take(&bytes, 2).is_none());
        let second = Room::take(&bytes, 1).unwrap();
        assert!(Room::take(&bytes, 1).is_none());
        drop((first, second));
        assert_eq!(bytes.0.get(), 0);
        assert!(Room::take(&bytes, u64::MAX).is_none());
    }
}
