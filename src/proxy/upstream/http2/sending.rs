//! The body of a request over HTTP/2: its progress, the part that can be sent again, and the errors that end it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::domain::cause::Cause;
use crate::domain::reason::Reason;
use crate::proxy::codec::fields;
use crate::proxy::messages::error::{Error, Side};
use crate::proxy::upstream::replay::Taken;
use crate::proxy::upstream::request::{AnyBody, Reclaimed};

/// The progress of a request's body; shared with the exchange that waits for the answer.
#[derive(Default)]
pub struct Sending {
    body: RefCell<Option<AnyBody>>,
    /// The bytes for a retry, kept until the answer is here.
    taken: RefCell<Taken>,
    /// True once nothing is sent any more.
    over: Cell<bool>,
    has_answer: Cell<bool>,
    pub(super) done: Cell<bool>,
    pub(super) progress: Cell<u64>,
    /// True while the client's body is polled and has nothing.
    pub(super) wants: Cell<bool>,
    /// The failure of the client's body; hyper only reports that the stream was reset.
    failed: Cell<Option<(Side, Reason)>>,
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("done", &self.done)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl Sending {
    /// The body from its beginning, if not too much of it has been sent.
    pub(super) fn reclaim(&self) -> Reclaimed {
        let rest = self.body.take();
        self.taken.take().again(rest)
    }

    /// Ends the chance of a retry: the answer is here.
    pub(super) fn answered(&self) {
        self.has_answer.set(true);
        self.taken.borrow_mut().forget();
        self.let_go();
    }

    /// Frees the body as soon as it can be sent neither now nor again: its connection waits for that.
    fn let_go(&self) {
        if self.over.get() && self.has_answer.get() {
            drop(self.body.take());
        }
    }

    /// The error of hyper, unless it was the client's own body; `closed` is the cause if the connection ended.
    pub fn failure(&self, error: hyper::Error, closed: Cause) -> Error {
        if let Some((side, reason)) = self.failed.get() {
            return Error::new(side, reason).because(error);
        }
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
        let cause = match cause {
            _ if is_refused(&error) => Cause::StreamRefused,
            _ if has_died(&error) => closed,
            Some(cause) if h2::Error::is_reset(cause) && cause.is_remote() => Cause::StreamReset,
            _ => Cause::Http2Failed,
        };
        Error::upstream(Reason::UpstreamFailed)
            .by(cause)
            .because(error)
    }
}

/// The body of a request, for hyper.
pub struct SentBody {
    sending: Rc<Sending>,
}

impl SentBody {
    pub(super) fn new(body: Option<AnyBody>, sending: Rc<Sending>) -> Self {
        sending.done.set(body.is_none());
        *sending.body.borrow_mut() = body;
        Self { sending }
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let sending = &self.sending;
        let mut slot = sending.body.borrow_mut();
        let Some(body) = &mut *slot else {
            return Poll::Ready(None);
        };
        let polled = body.as_mut().poll_frame(cx);
        sending.wants.set(polled.is_pending());
        let Some(frame) = ready!(polled) else {
            *slot = None;
            sending.done.set(true);
            return Poll::Ready(None);
        };
        sending.progress.set(sending.progress.get() + 1);
        match &frame {
            Ok(frame) => sending.taken.borrow_mut().note(frame),
            Err(error) => sending.failed.set(Some((error.side, error.reason))),
        }
        Poll::Ready(Some(frame.map(|frame| match frame.into_trailers() {
            Ok(mut trailers) => {
                fields::keep_trailers(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        })))
    }

    fn is_end_stream(&self) -> bool {
        let body = self.sending.body.borrow();
        body.as_ref()
            .is_none_or(|body| body.as_ref().is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.sending.body.borrow();
        body.as_ref()
            .map_or_else(|| SizeHint::with_exact(0), |body| body.as_ref().size_hint())
    }
}

impl Drop for SentBody {
    fn drop(&mut self) {
        self.sending.done.set(true);
        self.sending.over.set(true);
        self.sending.let_go();
    }
}

/// True if the connection failed, or the upstream is leaving it, and not just this one stream.
pub(super) fn has_died(error: &hyper::Error) -> bool {
    let Some(cause) = std::error::Error::source(error) else {
        return false;
    };
    cause.is::<std::io::Error>()
        || cause
            .downcast_ref::<h2::Error>()
            .is_some_and(|cause| cause.is_io() || (cause.is_go_away() && cause.is_remote()))
}

/// True if the upstream reports that it has not processed the request (RFC 9113, 8.7): it has refused the stream, or
/// its GOAWAY names an earlier one.
pub(super) fn is_refused(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|cause| cause.downcast_ref::<h2::Error>())
        .is_some_and(|cause| {
            let stream = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
            cause.is_remote() && (stream || cause.is_go_away())
        })
}
