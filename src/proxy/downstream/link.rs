//! One HTTP/1.1 connection: its stream, its input and output buffers, and the rest of a request's body.
//!
//! The connection's driver and the body of its request share it; the body may be read from another task. The read side
//! has one owner: the driver checks for a client that leaves only while no body is being read.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncBufRead, AsyncWrite};

use super::body::Source;
use crate::net::stream::{AnyStream, Rewound};
use crate::net::strides;
use crate::proxy::codec::chunked::Piece;
use crate::proxy::codec::coding::Coding;
use crate::proxy::codec::output::Output;

/// The shared part of a connection; see the module.
#[derive(Debug)]
pub struct Link<S> {
    /// `None` once the connection has become a tunnel.
    stream: Option<S>,
    /// Bytes that were read and not taken yet.
    pub input: BytesMut,
    rest: BodyRest,
    /// The number of the request that `rest` belongs to. A body that outlives its request's answer must not read the
    /// next one's.
    request: u64,
    go_on: Expectation,
    /// The driver of the connection, to be woken when the read side is free again or `100 Continue` has to be sent.
    driver: Option<Waker>,
}

/// The state of `Expect: 100-continue` (RFC 9110, 10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expectation {
    NotWanted,
    /// The client waits for `100 Continue`, which is sent at the first read of the body.
    Wanted,
    Due,
}

/// The rest of a request's body.
#[derive(Debug)]
enum BodyRest {
    Coming(Coding),
    Whole,
    /// The body was malformed, or the connection is over.
    Broken,
}

impl<S: AsyncBufRead + AsyncWrite + Unpin> Link<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream: Some(stream),
            input: BytesMut::new(),
            rest: BodyRest::Whole,
            request: 0,
            go_on: Expectation::NotWanted,
            driver: None,
        }
    }

    /// Begins to read a request whose head has been taken; returns its number.
    ///
    /// All of the request before has been taken, so a body of it that is still held has ended.
    pub fn begin(&mut self, coding: Coding, expects_continue: bool) -> u64 {
        self.request += 1;
        self.rest = match coding {
            Coding::Length(0) => BodyRest::Whole,
            coding => BodyRest::Coming(coding),
        };
        self.go_on = if expects_continue {
            Expectation::Wanted
        } else {
            Expectation::NotWanted
        };
        self.request
    }

    /// Reads the available bytes; 0 when the client has closed. Nothing is allocated while there are none.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_read(cx, 0)
    }

    /// Reads the available bytes of a body. Large pieces seldom come alone: several are gathered, so that they leave in
    /// one write.
    fn poll_fill_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = match &self.rest {
            BodyRest::Coming(Coding::Length(left)) => usize::try_from(*left).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let first = ready!(self.poll_read(cx, room.min(GATHERED_MAX)))?;
        let mut last = first;
        while last >= LARGE && self.input.len() + last <= GATHERED_MAX {
            last = match self.poll_read(cx, 0) {
                Poll::Ready(Ok(length)) => length,
                // The next read fails again.
                Poll::Ready(Err(_)) | Poll::Pending => break,
            };
        }
        Poll::Ready(Ok(first))
    }

    /// Reads the available bytes, with `room` for more behind a large piece.
    fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(0));
        };
        let Poll::Ready(bytes) = Pin::new(&mut *stream).poll_fill_buf(cx)? else {
            return self.poll_unheard(cx);
        };
        let length = bytes.len();
        if length >= LARGE && self.input.is_empty() {
            self.input.reserve(room);
        }
        strides::append(&mut self.input, bytes);
        Pin::new(stream).consume(length);
        Poll::Ready(Ok(length))
    }

    /// Waits for the client. Bytes that were kept of the handshake leave with the first answer, but do not wait for a
    /// request.
    fn poll_unheard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.request == 0
            && let Some(stream) = &mut self.stream
            && let Poll::Ready(Err(error)) = Pin::new(stream).poll_flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }

    /// Writes all of `output`, down to the socket.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut Output,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => output.poll_write(cx, Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// True if all of the request has come.
    pub fn is_whole(&self) -> bool {
        matches!(self.rest, BodyRest::Whole)
    }

    /// True if more of a body may come.
    pub fn is_coming(&self) -> bool {
        matches!(self.rest, BodyRest::Coming(_))
    }

    /// Skips the available bytes of a body without a reader; returns true if they were all of it.
    pub fn skip(&mut self) -> bool {
        loop {
            match self.take() {
                Ok(Some(Piece::End)) => return true,
                Ok(Some(Piece::Data(_) | Piece::Trailers(_))) => {}
                Ok(None) | Err(_) => return false,
            }
        }
    }

    /// Ends reading of the request: its body breaks off for a reader.
    pub fn abandon(&mut self) {
        if !self.is_whole() {
            self.rest = BodyRest::Broken;
        }
    }

    /// Marks the input as malformed.
    pub fn refuse(&mut self) {
        self.rest = BodyRest::Broken;
    }

    /// Registers `cx` to be woken when the read side is free again.
    pub fn watch(&mut self, cx: &Context<'_>) {
        match &mut self.driver {
            Some(driver) => driver.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// True once if `100 Continue` has to be sent.
    pub fn take_go_on(&mut self) -> bool {
        let due = self.go_on == Expectation::Due;
        if due {
            self.go_on = Expectation::NotWanted;
        }
        due
    }

    /// Marks the beginning of the answer, after which no `100 Continue` may come. Returns true if the client still
    /// waits for one, and may not send its body at all.
    pub fn answered(&mut self) -> bool {
        std::mem::replace(&mut self.go_on, Expectation::NotWanted) == Expectation::Wanted
    }

    /// Frees the memory that an idle connection does not need.
    pub fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.driver = None;
    }

    fn take(&mut self) -> io::Result<Option<Piece>> {
        let coding = match &mut self.rest {
            BodyRest::Coming(coding) => coding,
            BodyRest::Whole => return Ok(Some(Piece::End)),
            BodyRest::Broken => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        match coding.take(&mut self.input) {
            Ok(piece) => {
                if matches!(piece, Some(Piece::End)) || matches!(coding, Coding::Length(0)) {
                    self.rest = BodyRest::Whole;
                    self.wake_driver();
                }
                Ok(piece)
            }
            Err(malformed) => {
                self.rest = BodyRest::Broken;
                Err(io::Error::new(io::ErrorKind::InvalidData, malformed))
            }
        }
    }

    fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Piece>> {
        loop {
            if let Some(piece) = self.take()? {
                return Poll::Ready(Ok(piece));
            }
            if self.go_on == Expectation::Wanted {
                self.go_on = Expectation::Due;
                self.wake_driver();
            }
            let Poll::Ready(length) = self.poll_fill_body(cx)? else {
                // A slow client holds no more than the pieces that are still being sent.
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
                return Poll::Pending;
            };
            if length == 0 {
                self.rest = BodyRest::Broken;
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

impl<S: AsyncBufRead + AsyncWrite + Unpin + std::fmt::Debug + 'static> Link<S> {
    /// The stream, beginning with the bytes that were read and not taken.
    pub fn take_stream(&mut self) -> Option<Box<dyn AnyStream>> {
        let first = std::mem::take(&mut self.input);
        let stream = self.stream.take()?;
        Some(if first.is_empty() {
            Box::new(stream)
        } else {
            Box::new(Rewound::new(first.freeze(), stream))
        })
    }
}

/// A large read: there are probably more bytes behind it.
const LARGE: usize = 4 << 10;
/// The bytes of a body that are gathered before they are forwarded: four full TLS records.
const GATHERED_MAX: usize = 64 << 10;

/// The body of one request of a connection.
#[derive(Debug)]
pub struct LinkBody<S> {
    pub link: Rc<RefCell<Link<S>>>,
    pub request: u64,
}

impl<S> LinkBody<S> {
    fn has_passed(&self) -> bool {
        self.link.borrow().request != self.request
    }
}

impl<S: AsyncBufRead + AsyncWrite + Unpin + std::fmt::Debug> Source for LinkBody<S> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.has_passed() {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.link.borrow_mut().poll_piece(cx)) {
            Ok(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(Piece::End) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.has_passed() || self.link.borrow().is_whole()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.link.borrow().rest {
            BodyRest::Coming(Coding::Length(left)) if !self.has_passed() => {
                SizeHint::with_exact(*left)
            }
            BodyRest::Whole => SizeHint::with_exact(0),
            BodyRest::Coming(_) | BodyRest::Broken => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use tokio::io::{AsyncRead, ReadBuf, join, sink};

    /// A client's TLS records: each is read on its own. Between two of them the reader waits.
    #[derive(Debug)]
    struct Records {
        coming: VecDeque<Vec<u8>>,
        ends: bool,
    }

    impl AsyncRead for Records {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            unreachable!("bodies are read without a buffer of their own")
        }
    }

    impl AsyncBufRead for Records {
        fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
            let this = self.get_mut();
            match this.coming.front() {
                Some(record) => Poll::Ready(Ok(record)),
                None if this.ends => Poll::Ready(Ok(&[])),
                None => Poll::Pending,
            }
        }

        fn consume(self: Pin<&mut Self>, amount: usize) {
            let record = self.get_mut().coming.pop_front();
            assert_eq!(record.map_or(0, |record| record.len()), amount);
        }
    }

    /// The lengths of the pieces that records of these lengths are read as, up to the next wait.
    fn pieces(records: &[usize], left: u64, ends: bool) -> (Vec<usize>, io::Result<bool>) {
        let records = Records {
            coming: records.iter().map(|length| vec![7; *length]).collect(),
            ends,
        };
        let mut link = Link::new(join(records, sink()));
        link.begin(Coding::Length(left), false);
        let mut cx = Context::from_waker(Waker::noop());
        let mut lengths = Vec::new();
        loop {
            match link.poll_piece(&mut cx) {
                Poll::Ready(Ok(Piece::Data(data))) => lengths.push(data.len()),
                Poll::Ready(Ok(_)) => return (lengths, Ok(true)),
                Poll::Ready(Err(error)) => return (lengths, Err(error)),
                Poll::Pending => {
                    assert_eq!(link.input.capacity(), 0, "nothing is held while waiting");
                    return (lengths, Ok(false));
                }
            }
        }
    }

    const FULL: usize = 16 << 10;

    #[test]
    fn large_records_are_gathered_and_nothing_waits_for_more() {
        let check = |records: &[usize], expected: &[usize]| {
            let sum: usize = records.iter().sum();
            let (lengths, whole) = pieces(records, sum as u64, false);
            assert_eq!((&*lengths, whole.unwrap()), (expected, true), "{records:?}");
            let (lengths, whole) = pieces(records, sum as u64 + 1, false);
            assert_eq!(
                (&*lengths, whole.unwrap()),
                (expected, false),
                "{records:?}"
            );
        };
        check(&[10, 20], &[10, 20]);
        check(&[FULL], &[FULL]);
        check(&[FULL; 9], &[4 * FULL, 4 * FULL, FULL]);
        check(&[FULL, 100, FULL], &[FULL + 100, FULL]);
        check(&[100, FULL, FULL], &[100, 2 * FULL]);
        check(&[60 << 10, 60 << 10], &[60 << 10, 60 << 10]);
    }

    #[test]
    fn a_body_that_breaks_off_is_read_as_far_as_it_came() {
        let (lengths, end) = pieces(&[LARGE, LARGE], 3 * LARGE as u64, true);
        assert_eq!(lengths, [2 * LARGE]);
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_follows_a_body_is_left() {
        let records = Records {
            coming: [vec![7; LARGE], vec![8; LARGE]].into(),
            ends: false,
        };
        let mut link = Link::new(join(records, sink()));
        link.begin(Coding::Length(LARGE as u64 + 1), false);
        let mut cx = Context::from_waker(Waker::noop());
        let piece = link.poll_piece(&mut cx);
        assert!(matches!(piece, Poll::Ready(Ok(Piece::Data(data))) if data.len() == LARGE + 1));
        assert!(link.is_whole());
        assert_eq!(link.input, vec![8; LARGE - 1]);
    }
}
