//! The sending half of an exchange over HTTP/1.1: the head and a body, in as few writes as their pieces allow.

use std::fmt;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::connection::UpstreamConnection;
use super::request::{AnyBody, BodyGone, Head, Reclaimed};
use super::wire::{self, BodyFraming};
use crate::domain::reason::Reason;
use crate::proxy::codec::output::Output;
use crate::proxy::messages::error::Error;

/// The sender of one request. The poll for the answer drives it, so that no task is needed.
pub struct Sender {
    body: Option<AnyBody>,
    /// The missing bytes of a body with a length; `None` for a chunked one.
    left: Option<u64>,
    waits_for: Waits,
    /// A number that rises with all progress.
    progress: u64,
    /// True if a frame was taken from the body, so that the request cannot be sent again.
    body_touched: bool,
    start: Start,
    /// True if the connection was kept, and the request must not be sent twice.
    checks: bool,
    done: bool,
}

/// The state of the head. It is held back for one turn when the body has nothing yet: hyper hands the first piece over
/// only at a second poll, and head and piece then share a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    New,
    Held,
    Begun,
}

/// The side that the exchange is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// The client, for more of the body.
    Client,
    /// The upstream, to take the output.
    Upstream,
}

/// The reason why sending stopped.
#[derive(Debug)]
pub enum SendError {
    /// The client's body failed, with this error.
    Body(Error),
    Write(io::Error),
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("left", &self.left)
            .field("waits_for", &self.waits_for)
            .field("start", &self.start)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// Begins to send a request over `connection`. With `checks`, a close of the connection is looked for right before
    /// the first write.
    pub fn begin(
        connection: &mut UpstreamConnection,
        head: &Head,
        body: Option<AnyBody>,
        checks: bool,
    ) -> Self {
        let framing = framing(&head.method, body.as_ref());
        wire::put_head(&mut connection.output.own, head, framing);
        let left = match framing {
            BodyFraming::None => Some(0),
            BodyFraming::Length(length) => Some(length),
            BodyFraming::Chunked => None,
        };
        Self {
            body: body.filter(|_| left != Some(0)),
            left,
            waits_for: Waits::Upstream,
            progress: 0,
            body_touched: false,
            start: Start::New,
            checks,
            done: false,
        }
    }

    /// True if anything may have reached the upstream.
    pub fn has_begun(&self) -> bool {
        self.start == Start::Begun
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    pub fn waits_for(&self) -> Waits {
        self.waits_for
    }

    pub fn progress(&self) -> u64 {
        self.progress
    }

    /// The body, if none of it is gone: the request can be sent again.
    pub fn reclaim(self) -> Reclaimed {
        if self.body_touched {
            return Err(BodyGone);
        }
        Ok(self.body)
    }

    /// Ready when everything is sent.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut UpstreamConnection,
    ) -> Poll<Result<(), SendError>> {
        while !self.done {
            if self.start != Start::Begun && !self.may_begin(connection) {
                let gone = io::ErrorKind::ConnectionAborted;
                return Poll::Ready(Err(SendError::Write(gone.into())));
            }
            let dry = self
                .fill(cx, &mut connection.output)
                .map_err(SendError::Body)?;
            if dry && self.start == Start::New {
                self.start = Start::Held;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.start = Start::Begun;
            let something = !connection.output.is_empty();
            self.waits_for = Waits::Upstream;
            ready!(connection.poll_write(cx)).map_err(SendError::Write)?;
            self.progress += u64::from(something);
            if self.body.is_none() {
                self.done = true;
            } else if dry {
                self.waits_for = Waits::Client;
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// True if the connection is still open for a request. Checked before anything is taken of the body, which can then
    /// go elsewhere.
    fn may_begin(&self, connection: &mut UpstreamConnection) -> bool {
        match self.start {
            _ if self.checks => connection.is_quiet_in_the_kernel(),
            // Bytes that came while the head was held back belong to no request.
            Start::Held => connection.is_quiet(),
            Start::New | Start::Begun => true,
        }
    }

    /// Puts the available part of the body into the output, up to one write. Returns true when the client has to send
    /// more first.
    fn fill(&mut self, cx: &mut Context<'_>, output: &mut Output) -> Result<bool, Error> {
        while output.has_room() {
            let Some(body) = &mut self.body else {
                return Ok(false);
            };
            match body.as_mut().poll_frame(cx) {
                Poll::Pending => return Ok(true),
                Poll::Ready(None) => self.finish(output, None)?,
                Poll::Ready(Some(frame)) => {
                    self.body_touched = true;
                    self.progress += 1;
                    match frame?.into_data() {
                        Ok(data) => self.put(data, output)?,
                        Err(frame) => self.finish(output, frame.into_trailers().ok().as_ref())?,
                    }
                }
            }
            if self.left == Some(0) {
                self.body = None;
            }
        }
        Ok(false)
    }

    fn put(&mut self, data: Bytes, output: &mut Output) -> Result<(), Error> {
        if let Some(left) = &mut self.left {
            *left = left
                .checked_sub(data.len() as u64)
                .ok_or_else(|| wrong_length("a body is longer than it said"))?;
        }
        output.put(data, self.left.is_none());
        Ok(())
    }

    fn finish(&mut self, output: &mut Output, trailers: Option<&HeaderMap>) -> Result<(), Error> {
        self.body = None;
        match self.left {
            None => output.put_end(trailers),
            Some(0) => {}
            Some(_) => return Err(wrong_length("a body is shorter than it said")),
        }
        Ok(())
    }
}

fn wrong_length(what: &'static str) -> Error {
    Error::downstream(Reason::RequestMalformed).because(what)
}

/// The framing of the body: Content-Length if it has a length, chunks otherwise. A method that never has a body needs
/// no field for that; for the others, none would be ambiguous.
fn framing(method: &Method, body: Option<&AnyBody>) -> BodyFraming {
    let length = match body {
        None => Some(0),
        Some(body) => body.size_hint().exact(),
    };
    let bodiless = matches!(
        *method,
        Method::GET
            | Method::HEAD
            | Method::DELETE
            | Method::OPTIONS
            | Method::CONNECT
            | Method::TRACE
    );
    match length {
        Some(0) if bodiless => BodyFraming::None,
        Some(length) => BodyFraming::Length(length),
        None => BodyFraming::Chunked,
    }
}
