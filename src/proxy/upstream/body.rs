//! The body of an upstream's answer, from either version of HTTP.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::http1::{Http1Body, Received};
use super::http2_body::Http2Body;
use crate::proxy::messages::error::Error;

/// The body of an answer, streamed from the connection that it arrives on.
///
/// Dropped before its end, it closes the connection or resets the stream; read to its end, it gives it back.
#[derive(Debug)]
pub struct AnswerBody(Kind);

#[derive(Debug)]
enum Kind {
    /// All of it; its connection serves other exchanges already.
    Whole(Bytes),
    Http1(Box<Http1Body>),
    Http2(Box<Http2Body>),
}

impl AnswerBody {
    /// True if all of it has come from the upstream.
    pub fn is_whole(&self) -> bool {
        matches!(self.0, Kind::Whole(_))
    }
}

impl From<Received> for AnswerBody {
    fn from(body: Received) -> Self {
        Self(match body {
            Received::Whole(bytes) => Kind::Whole(bytes),
            Received::Streaming(body) => Kind::Http1(Box::new(body)),
        })
    }
}

impl From<Http2Body> for AnswerBody {
    fn from(body: Http2Body) -> Self {
        Self(Kind::Http2(Box::new(body)))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Http1(body) => body.poll_frame(cx),
            Kind::Http2(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Http1(body) => body.is_end_stream(),
            Kind::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Http1(body) => body.size_hint(),
            Kind::Http2(body) => body.size_hint(),
        }
    }
}
