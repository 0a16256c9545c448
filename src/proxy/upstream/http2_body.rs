//! The body of an answer over HTTP/2.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::deadline::Deadline;
use super::http2::sending::Sending;
use super::pool::SharedLease;
use crate::domain::cause::Cause;
use crate::domain::reason::Reason;
use crate::proxy::codec::fields;
use crate::proxy::messages::error::Error;

/// A body that is still arriving. Dropped, it resets its stream.
#[derive(Debug)]
pub struct Http2Body {
    incoming: Incoming,
    sending: Rc<Sending>,
    /// The lease keeps the stream counted.
    lease: Option<SharedLease>,
    deadline: Deadline,
    idle: Duration,
    waiting: bool,
}

impl Http2Body {
    pub fn new(
        incoming: Incoming,
        sending: Rc<Sending>,
        lease: SharedLease,
        idle: Duration,
    ) -> Self {
        let lease = Some(lease).filter(|_| !incoming.is_end_stream());
        Self {
            incoming,
            sending,
            lease,
            deadline: Deadline::after(idle),
            idle,
            waiting: false,
        }
    }

    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(polled) = Pin::new(&mut self.incoming).poll_frame(cx) {
            self.waiting = false;
            let frame = polled.map(|frame| match frame {
                Ok(frame) => Ok(match frame.into_trailers() {
                    Ok(mut trailers) => {
                        fields::keep_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                }),
                Err(error) => {
                    let error = self.sending.failure(error, Cause::ClosedInAnswer);
                    Err(self.fail(error))
                }
            });
            if self.incoming.is_end_stream() || !matches!(frame, Some(Ok(_))) {
                self.lease = None;
            }
            return Poll::Ready(frame);
        }
        if !std::mem::replace(&mut self.waiting, true) {
            self.deadline.set(self.idle);
        }
        ready!(self.deadline.poll(cx));
        let error = Error::upstream(Reason::UpstreamTimeout).by(Cause::AnswerStalled);
        let error = self.fail(error);
        self.lease = None;
        Poll::Ready(Some(Err(error)))
    }

    fn fail(&self, error: Error) -> Error {
        match &self.lease {
            Some(lease) => lease.fail(error),
            None => error,
        }
    }

    pub fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
