//! The sent part of a request's body, kept until the upstream has processed the request or reports that it has not.
//!
//! Over HTTP/2 an upstream can report that a request was not processed (RFC 9113, 8.7), and such a request is sent
//! again with any method. By then its body has begun to leave.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::request::{AnyBody, BodyGone, Reclaimed};
use crate::proxy::messages::error::Error;

/// The part of a body that was taken, as long as it is small.
#[derive(Debug, Default)]
pub struct Taken {
    data: Vec<Bytes>,
    bytes: usize,
    trailers: Option<HeaderMap>,
    gone: bool,
}

impl Taken {
    pub fn note(&mut self, frame: &Frame<Bytes>) {
        if self.gone {
            return;
        }
        if let Some(data) = frame.data_ref() {
            self.bytes += data.len();
            self.data.push(data.clone());
        } else {
            self.trailers = frame.trailers_ref().cloned();
        }
        if self.bytes > KEPT_MAX || self.data.len() > PIECES_MAX {
            self.forget();
        }
    }

    /// Drops the bytes: the body cannot be sent again any more, or need not.
    pub fn forget(&mut self) {
        *self = Self {
            gone: true,
            ..Self::default()
        };
    }

    /// The whole body again, where `rest` is the part that was not taken.
    pub fn again(self, rest: Option<AnyBody>) -> Reclaimed {
        if self.gone {
            return Err(BodyGone);
        }
        if self.data.is_empty() && self.trailers.is_none() {
            return Ok(rest);
        }
        let mut data = self.data;
        data.reverse();
        Ok(Some(Box::pin(Replay {
            data,
            bytes: self.bytes as u64,
            rest,
            trailers: self.trailers,
        })))
    }
}

/// A body that begins with the bytes that were taken of it before.
struct Replay {
    /// The last piece first.
    data: Vec<Bytes>,
    bytes: u64,
    rest: Option<AnyBody>,
    trailers: Option<HeaderMap>,
}

impl Body for Replay {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if let Some(data) = this.data.pop() {
            this.bytes = this.bytes.saturating_sub(data.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = this.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match &mut this.rest {
            Some(rest) => rest.as_mut().poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty()
            && self.trailers.is_none()
            && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref();
        let rest = rest.map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut whole = SizeHint::new();
        whole.set_lower(rest.lower().saturating_add(self.bytes));
        if let Some(upper) = rest.upper() {
            whole.set_upper(upper.saturating_add(self.bytes));
        }
        whole
    }
}

/// The limit for kept bytes. Calls of gRPC and the bodies of most APIs fit. Each request that waits for an upstream's
/// answer holds them.
const KEPT_MAX: usize = 64 << 10;
const PIECES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http_body_util::{BodyExt, Full};

    fn rest(text: &'static str) -> AnyBody {
        Box::pin(Full::new(Bytes::from(text)).map_err(|never| match never {}))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_was_taken_comes_first_and_then_the_rest() {
        let mut taken = Taken::default();
        taken.note(&Frame::data(Bytes::from("ab")));
        taken.note(&Frame::data(Bytes::from("cd")));
        let again = taken.again(Some(rest("ef"))).unwrap().unwrap();
        assert_eq!(again.size_hint().exact(), Some(6));
        assert_eq!(again.collect().await.unwrap().to_bytes(), "abcdef");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn trailers_come_again() {
        let mut taken = Taken::default();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        taken.note(&Frame::data(Bytes::from("ab")));
        taken.note(&Frame::trailers(trailers));
        let again = taken.again(None).unwrap().unwrap();
        let collected = again.collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-sum"], "1");
        assert_eq!(collected.to_bytes(), "ab");
    }

    #[test]
    fn a_large_body_is_not_held() {
        let mut taken = Taken::default();
        taken.note(&Frame::data(Bytes::from(vec![0; KEPT_MAX])));
        taken.note(&Frame::data(Bytes::from("x")));
        assert_eq!((taken.bytes, taken.data.len()), (0, 0));
        assert!(taken.again(None).is_err());
    }
}
