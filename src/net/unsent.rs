//! Bytes of answers that one HTTP/2 connection holds because its client does not take them, bounded for all streams
//! together.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

/// The bytes that wait on all streams of a connection together.
#[derive(Debug)]
pub struct Unsent {
    bytes: Cell<usize>,
    max: usize,
    /// The number of pieces that have left.
    gone: Cell<u64>,
    /// Streams that have more to send when there is room; each of them once.
    waiting: RefCell<Vec<Waker>>,
}

impl Unsent {
    /// The limit of a connection that may hold about `max` bytes.
    pub fn within(max: usize) -> Rc<Self> {
        Rc::new(Self {
            bytes: Cell::new(0),
            max,
            gone: Cell::new(0),
            waiting: RefCell::default(),
        })
    }

    /// Waits until another piece, of any length, may be taken from its source.
    pub fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        if self.bytes.get() < self.max {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// True if everything was sent.
    pub fn is_empty(&self) -> bool {
        self.bytes.get() == 0
    }

    /// The number of pieces that have left so far: a connection on which this grows is being read.
    pub fn gone(&self) -> u64 {
        self.gone.get()
    }

    /// A piece that occupies the limit until it has been sent.
    pub fn hold(self: &Rc<Self>, bytes: Bytes) -> Piece {
        let length = bytes.len();
        self.bytes.set(self.bytes.get() + length);
        Piece {
            bytes,
            held: Some((Rc::clone(self), length)),
        }
    }

    fn give_back(&self, length: usize) {
        let left = self.bytes.get().saturating_sub(length);
        self.bytes.set(left);
        self.gone.set(self.gone.get().wrapping_add(1));
        if left < self.max {
            for waker in self.waiting.take() {
                waker.wake();
            }
        }
    }
}

/// A piece of an answer on its way to the client.
#[derive(Debug)]
pub struct Piece {
    bytes: Bytes,
    held: Option<(Rc<Unsent>, usize)>,
}

/// A piece outside of the limit: it ends a stream, or belongs to a tunnel, which has one at a time.
impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, held: None }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some((unsent, length)) = self.held.take() {
            unsent.give_back(length);
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_full_connection_takes_more_when_a_piece_has_gone() {
        let unsent = Unsent::within(10);
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let cx = Context::from_waker(&waker);
        let hold = |length| unsent.hold(Bytes::from(vec![7; length]));
        let mut first = hold(9);
        assert!(unsent.poll_room(&cx).is_ready());
        let second = hold(100);
        assert!(unsent.poll_room(&cx).is_pending());
        assert!(unsent.poll_room(&cx).is_pending());
        first.advance(9);
        drop(first);
        assert_eq!(bell.0.load(Ordering::Relaxed), 0, "still full");
        drop(second);
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        assert!(unsent.poll_room(&cx).is_ready());
        assert_eq!((unsent.bytes.get(), unsent.gone()), (0, 2));
    }
}
