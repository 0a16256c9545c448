//! Bodies that are held: the one kind that is in memory as a whole, of signed requests, within a bound.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use foldhash::HashMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use crate::domain::id::AppId;

use crate::proxy::messages::error::Error;

/// The bytes of bodies that one worker holds at a time. Only callers whose signature has been verified have any here.
const HELD_BYTES_MAX: u64 = 64 << 20;

/// The bytes of them that one App may have, so that no partner takes the room of the others. It is also the most that
/// `signatures.body_max` can be.
const OF_APP_MAX: u64 = HELD_BYTES_MAX / 4;

/// The least room that a buffer takes, so that it does not grow with each of many small frames.
const BUFFER_MIN: usize = 4096;

/// The bytes of bodies that a worker holds.
#[derive(Debug, Default)]
pub struct HeldBytes {
    all: Cell<u64>,
    /// Apps without a body have no entry.
    of_apps: RefCell<HashMap<AppId, u64>>,
}

impl HeldBytes {
    #[cfg(test)]
    pub fn all(&self) -> u64 {
        self.all.get()
    }

    fn take(&self, app: AppId, bytes: u64) -> Option<()> {
        let within = |held: u64, max: u64| held.checked_add(bytes).filter(|held| *held <= max);
        let all = within(self.all.get(), HELD_BYTES_MAX)?;
        let mut of_apps = self.of_apps.borrow_mut();
        let own = within(of_apps.get(&app).copied().unwrap_or_default(), OF_APP_MAX)?;
        self.all.set(all);
        of_apps.insert(app, own);
        Some(())
    }

    fn give_back(&self, app: AppId, bytes: u64) {
        self.all.set(self.all.get().saturating_sub(bytes));
        let mut of_apps = self.of_apps.borrow_mut();
        if let Some(own) = of_apps.get_mut(&app) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                of_apps.remove(&app);
            }
        }
    }
}

/// Room for a body, until it has left. It grows as the body arrives: what was only announced takes none.
#[derive(Debug)]
pub struct Room {
    of: Rc<HeldBytes>,
    app: AppId,
    bytes: u64,
}

impl Room {
    /// No room yet, for a body of this App.
    pub fn of(of: &Rc<HeldBytes>, app: AppId) -> Self {
        let of = Rc::clone(of);
        Self { of, app, bytes: 0 }
    }

    fn grow(&mut self, bytes: usize) -> Option<()> {
        let bytes = u64::try_from(bytes).ok()?;
        self.of.take(self.app, bytes)?;
        self.bytes += bytes;
        Some(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.give_back(self.app, self.bytes);
    }
}

/// A body that arrives, in one buffer with room for all that it has.
#[derive(Debug)]
pub struct Gathered {
    bytes: Vec<u8>,
    most: usize,
    room: Room,
}

impl Gathered {
    /// A buffer for a body of at most `most` bytes, which bounds itself.
    pub fn new(room: Room, most: u64) -> Self {
        Self {
            bytes: Vec::new(),
            most: usize::try_from(most).unwrap_or(usize::MAX),
            room,
        }
    }

    /// Adds a piece; `None` if there is no room for it.
    pub fn append(&mut self, piece: &[u8]) -> Option<()> {
        let (len, capacity) = (self.bytes.len(), self.bytes.capacity());
        let needed = len.checked_add(piece.len())?;
        if needed > capacity {
            let ample = capacity.saturating_mul(2).max(BUFFER_MIN).min(self.most);
            let wanted = needed.max(ample);
            self.room.grow(wanted - capacity)?;
            self.bytes.reserve_exact(wanted - len);
        }
        self.bytes.extend_from_slice(piece);
        Some(())
    }

    pub fn whole(self) -> (Bytes, Room) {
        (self.bytes.into(), self.room)
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

    const APP: AppId = AppId::from_bits(1);

    #[test]
    fn an_app_holds_a_quarter_and_a_worker_so_much_and_no_more() {
        let bytes = Rc::new(HeldBytes::default());
        let quarter = usize::try_from(OF_APP_MAX).unwrap();
        let mut first = Room::of(&bytes, APP);
        assert_eq!(first.grow(quarter - 1), Some(()));
        assert_eq!(first.grow(2), None);
        let mut second = Room::of(&bytes, APP);
        assert_eq!(second.grow(1), Some(()));
        assert_eq!(second.grow(1), None);
        let others: Vec<Room> = (2..5)
            .map(|bits| {
                let mut room = Room::of(&bytes, AppId::from_bits(bits));
                assert_eq!(room.grow(quarter), Some(()), "{bits}");
                room
            })
            .collect();
        let mut last = Room::of(&bytes, AppId::from_bits(5));
        assert_eq!(last.grow(1), None);
        drop(others);
        assert_eq!(last.grow(1), Some(()));
        assert_eq!(last.grow(usize::MAX), None);
        drop((first, second, last));
        assert_eq!(bytes.all(), 0);
        assert!(bytes.of_apps.borrow().is_empty());
    }

    #[test]
    fn what_is_announced_takes_no_room_and_what_comes_takes_its_own() {
        let bytes = Rc::new(HeldBytes::default());
        let mut gathered = Gathered::new(Room::of(&bytes, APP), 1 << 20);
        assert_eq!(bytes.all(), 0);
        gathered.append(b"x").unwrap();
        assert_eq!(bytes.all(), 4096);
        gathered.append(&vec![0; 1 << 19]).unwrap();
        assert_eq!(bytes.all(), (1 << 19) + 1);
        gathered.append(&[0; 10]).unwrap();
        assert_eq!(bytes.all(), 1 << 20);
        // Small bodies take no more than they have.
        let mut small = Gathered::new(Room::of(&bytes, AppId::from_bits(2)), 3);
        small.append(b"abc").unwrap();
        assert_eq!(bytes.all(), (1 << 20) + 3);
    }
}
