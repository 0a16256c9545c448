//! A request's body as it arrives, over either version of HTTP.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body, Frame, SizeHint};

/// The bytes behind a request's head.
#[derive(Debug)]
pub enum Incoming {
    /// From the request's own connection; it is read on demand.
    Http1(Box<dyn Source>),
    /// From a stream.
    Http2(StreamBody),
    /// No body. Bytes behind the head belong to a tunnel.
    Nothing,
}

/// The slot for a stream whose body was dropped before its end; the sender of the answer finds it there.
pub type Leftover = Rc<RefCell<Option<RecvStream>>>;

/// The body of an HTTP/2 stream.
#[derive(Debug)]
pub struct StreamBody {
    /// `None` once this is dropped.
    stream: Option<RecvStream>,
    leftover: Option<Leftover>,
    /// The number of bytes to come, if the head has it.
    left: Option<u64>,
    /// True if only trailers can follow.
    data_over: bool,
}

impl StreamBody {
    /// The body of a stream; `length` is from the head. The library checks that the client keeps to it (RFC 9113,
    /// 8.1.1).
    pub fn new(stream: RecvStream, length: Option<u64>) -> Self {
        let over = stream.is_end_stream();
        Self {
            stream: Some(stream),
            leftover: (!over).then(Leftover::default),
            left: if over { Some(0) } else { length },
            data_over: false,
        }
    }

    /// The slot for the unread rest; `None` when there is nothing to read.
    pub fn leftover(&self) -> Option<Leftover> {
        self.leftover.clone()
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        if !self.data_over {
            match ready!(stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // It fails when the stream has ended, which then needs no window.
                    let _ended = stream.flow_control().release_capacity(data.len());
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    self.left = self.left.map(|left| left.saturating_sub(length));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(unless_enough(error)),
                None => self.data_over = true,
            }
        }
        Poll::Ready(match ready!(stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => unless_enough(error),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(RecvStream::is_end_stream)
    }
}

impl Drop for StreamBody {
    /// A stream that is dropped is reset, and the client may take that for the loss of its answer.
    fn drop(&mut self) {
        if let Some(leftover) = &self.leftover
            && !self.is_end_stream()
        {
            leftover.replace(self.stream.take());
        }
    }
}

/// The end of a stream that ended without an error: its answer is complete, and its rest is not needed (RFC 9113, 8.1).
fn unless_enough<T>(error: h2::Error) -> Option<Result<T, h2::Error>> {
    (error.reason() != Some(Reason::NO_ERROR)).then_some(Err(error))
}

/// An HTTP/1.1 connection, from its request's body.
pub trait Source: fmt::Debug {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>>;

    /// True if nothing follows any more.
    fn is_end_stream(&self) -> bool;

    fn size_hint(&self) -> SizeHint;
}

/// The reason why a body broke off.
#[derive(Debug)]
pub enum Broken {
    /// The connection ended, or the body was malformed: then the kind is `InvalidData`.
    Http1(io::Error),
    Http2(h2::Error),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's body broke off")
    }
}

impl StdError for Broken {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Http1(error) => Some(error),
            Self::Http2(error) => Some(error),
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(match self.get_mut() {
            Self::Http1(source) => {
                ready!(source.poll_frame(cx)).map(|frame| frame.map_err(Broken::Http1))
            }
            Self::Http2(body) => {
                ready!(body.poll_frame(cx)).map(|frame| frame.map_err(Broken::Http2))
            }
            Self::Nothing => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(source) => source.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Nothing => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(source) => source.size_hint(),
            Self::Http2(body) => body
                .left
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Nothing => SizeHint::with_exact(0),
        }
    }
}
