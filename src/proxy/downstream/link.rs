//! One HTTP/1.1 connection: its stream, what is on the way in and out, and what is still to come of a request's body.
//!
//! Shared by whoever drives the connection and by the body of its request, which may be read from another task.
//! Whoever reads owns the read side: the driver looks for a client that leaves only while no body is being read.

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
use crate::proxy::codec::chunked::Piece;
use crate::proxy::codec::coding::Coding;
use crate::proxy::codec::output::Output;

/// See the module.
#[derive(Debug)]
pub struct Link<S> {
    /// Gone when the connection has become a tunnel.
    stream: Option<S>,
    /// Read and not yet taken.
    pub input: BytesMut,
    rest: Rest,
    /// Which request `rest` is of. A body that outlives its request's answer must not read the next one's.
    request: u64,
    go_on: GoOn,
    /// Whoever drives the connection, to be told when the read side is free again or something has to be said.
    driver: Option<Waker>,
}

/// The word that a client waits for before it sends its body (RFC 9110, 10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GoOn {
    NotWanted,
    /// It is said when somebody asks for the body.
    Wanted,
    Due,
}

/// What is still to come of a request's body.
#[derive(Debug)]
enum Rest {
    Coming(Coding),
    Whole,
    /// It was no body, or the connection is over.
    Broken,
}

impl<S: AsyncBufRead + AsyncWrite + Unpin> Link<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream: Some(stream),
            input: BytesMut::new(),
            rest: Rest::Whole,
            request: 0,
            go_on: GoOn::NotWanted,
            driver: None,
        }
    }

    /// Begins to read a request whose head has been taken; gives back its number.
    ///
    /// All of the request before has been taken, so a body of it that is still held has ended.
    pub fn begin(&mut self, coding: Coding, expects_continue: bool) -> u64 {
        self.request += 1;
        self.rest = match coding {
            Coding::Length(0) => Rest::Whole,
            coding => Rest::Coming(coding),
        };
        self.go_on = if expects_continue {
            GoOn::Wanted
        } else {
            GoOn::NotWanted
        };
        self.request
    }

    /// Reads what is there; 0 when the client has closed. Nothing is allocated while there is nothing.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(0));
        };
        let Poll::Ready(bytes) = Pin::new(&mut *stream).poll_fill_buf(cx)? else {
            return self.poll_unheard(cx);
        };
        let length = bytes.len();
        self.input.extend_from_slice(bytes);
        Pin::new(stream).consume(length);
        Poll::Ready(Ok(length))
    }

    /// Waits for the client. What was kept of the handshake goes with the first answer, but does not wait for a request.
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

    /// Whether all of the request is here.
    pub fn is_whole(&self) -> bool {
        matches!(self.rest, Rest::Whole)
    }

    /// Passes over what is at hand of a body that nobody wants; says whether that was all of it.
    pub fn skip(&mut self) -> bool {
        loop {
            match self.take() {
                Ok(Some(Piece::End)) => return true,
                Ok(Some(Piece::Data(_) | Piece::Trailers(_))) => {}
                Ok(None) | Err(_) => return false,
            }
        }
    }

    /// No more is read of the request: whoever still asks for its body is told that it broke off.
    pub fn abandon(&mut self) {
        if !self.is_whole() {
            self.rest = Rest::Broken;
        }
    }

    /// What is there is no request.
    pub fn refuse(&mut self) {
        self.rest = Rest::Broken;
    }

    /// Has `cx` woken when the read side is free again.
    pub fn watch(&mut self, cx: &Context<'_>) {
        match &mut self.driver {
            Some(driver) => driver.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Whether the client has to be told to go on; asked once.
    pub fn take_go_on(&mut self) -> bool {
        let due = self.go_on == GoOn::Due;
        if due {
            self.go_on = GoOn::NotWanted;
        }
        due
    }

    /// The answer begins, after which no other word may come.
    pub fn answered(&mut self) {
        self.go_on = GoOn::NotWanted;
    }

    /// Gives back what an idle connection does not need.
    pub fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.driver = None;
    }

    fn take(&mut self) -> io::Result<Option<Piece>> {
        let coding = match &mut self.rest {
            Rest::Coming(coding) => coding,
            Rest::Whole => return Ok(Some(Piece::End)),
            Rest::Broken => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        match coding.take(&mut self.input) {
            Ok(piece) => {
                if matches!(piece, Some(Piece::End)) || matches!(coding, Coding::Length(0)) {
                    self.rest = Rest::Whole;
                    self.wake_driver();
                }
                Ok(piece)
            }
            Err(malformed) => {
                self.rest = Rest::Broken;
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
            if self.go_on == GoOn::Wanted {
                self.go_on = GoOn::Due;
                self.wake_driver();
            }
            if ready!(self.poll_fill(cx))? == 0 {
                self.rest = Rest::Broken;
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

impl<S: AsyncBufRead + AsyncWrite + Unpin + std::fmt::Debug + 'static> Link<S> {
    /// The stream, beginning with what was read and not taken.
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
            Rest::Coming(Coding::Length(left)) if !self.has_passed() => SizeHint::with_exact(*left),
            Rest::Whole => SizeHint::with_exact(0),
            Rest::Coming(_) | Rest::Broken => SizeHint::default(),
        }
    }
}
