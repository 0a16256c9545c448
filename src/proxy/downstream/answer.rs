//! An answer to an HTTP/1.1 client: its head, and its body as it comes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::Body;

use super::date::DateText;
use super::wire::{self, Framing};
use crate::domain::reason::Reason;
use crate::proxy::bodies::body::ResponseBody;
use crate::proxy::codec::output::Output;
use crate::proxy::messages::error::Error;
use crate::proxy::messages::message::Response;

/// The facts of a request that decide the form of its answer.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the request"
)]
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts {
    /// HEAD, whose answer has no body.
    pub head_only: bool,
    /// HTTP/1.1, which knows chunks.
    pub chunks: bool,
    pub takes_trailers: bool,
    /// Another request may follow, as far as the client is concerned.
    pub keep_alive: bool,
}

/// The fill level of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// The upstream has to send more first.
    Dry,
    /// Enough for one write.
    Full,
    /// Nothing follows.
    Whole,
}

/// An answer whose head has been written. It holds its body, and with it the record, until all of it has been taken for
/// sending.
#[derive(Debug)]
pub struct Sending {
    body: ResponseBody,
    framing: Framing,
    /// The bytes of a `Content-Length` body that are still missing.
    left: u64,
    takes_trailers: bool,
    /// Another request may follow.
    pub keep_alive: bool,
    /// True if a tunnel follows.
    pub switched: bool,
}

impl Sending {
    /// Writes the head of an answer to `output`.
    pub fn begin(
        response: Response<ResponseBody>,
        asked: RequestFacts,
        date: DateText,
        output: &mut Output,
    ) -> Self {
        let Response {
            status,
            fields,
            body,
        } = response;
        let switched = status == StatusCode::SWITCHING_PROTOCOLS;
        let bodiless = asked.head_only
            || switched
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framing = match body.size_hint().exact() {
            _ if bodiless => Framing::None,
            Some(length) => Framing::Length(length),
            None if asked.chunks => Framing::Chunked,
            None => Framing::UntilClose,
        };
        let keep_alive = asked.keep_alive
            && framing != Framing::UntilClose
            && fields
                .get(&header::CONNECTION)
                .is_none_or(|value| value != "close");
        let head = wire::AnswerHead {
            status,
            fields: &fields,
            framing,
            close: !keep_alive,
            date,
        };
        output.make_ready();
        wire::put_head(&mut output.own, &head);
        Self {
            body,
            left: match framing {
                Framing::Length(length) => length,
                _ => 0,
            },
            framing,
            takes_trailers: asked.takes_trailers,
            keep_alive,
            switched,
        }
    }

    /// Puts the available part of the body into `output`, up to one write.
    pub fn fill(&mut self, cx: &mut Context<'_>, output: &mut Output) -> Result<Filled, Error> {
        while output.has_room() {
            let owed = match self.framing {
                Framing::None => false,
                Framing::Length(_) => self.left > 0,
                Framing::Chunked | Framing::UntilClose => true,
            };
            if !owed {
                return Ok(Filled::Whole);
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(Filled::Dry),
                Poll::Ready(Some(frame)) => match frame?.into_data() {
                    Ok(data) => self.put(data, output)?,
                    Err(frame) => self.finish(output, frame.into_trailers().ok())?,
                },
                Poll::Ready(None) => self.finish(output, None)?,
            }
        }
        Ok(Filled::Full)
    }

    fn put(&mut self, data: Bytes, output: &mut Output) -> Result<(), Error> {
        if let Framing::Length(_) = self.framing {
            let left = self.left.checked_sub(data.len() as u64);
            self.left = left.ok_or_else(|| wrong_length("an answer is longer than it said"))?;
        }
        output.put(data, self.framing == Framing::Chunked);
        Ok(())
    }

    fn finish(&mut self, output: &mut Output, trailers: Option<HeaderMap>) -> Result<(), Error> {
        match self.framing {
            Framing::Length(_) if self.left > 0 => {
                return Err(wrong_length("an answer is shorter than it said"));
            }
            Framing::Chunked => {
                let trailers = trailers.filter(|_| self.takes_trailers);
                output.put_end(trailers.as_ref());
            }
            _ => {}
        }
        self.framing = Framing::None;
        Ok(())
    }
}

fn wrong_length(what: &'static str) -> Error {
    Error::upstream(Reason::UpstreamFailed).because(what)
}
