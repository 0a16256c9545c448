//! An exchange over HTTP/1.1, without a task and without a channel: the poll for the answer drives it, and the answer's
//! body owns the connection until it has ended.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::answer_head::{AnswerHead, AnswerParser, BadAnswer, BodyLength, Expected, Parsed};
use super::connection::UpstreamConnection;
use super::pool::Lease;
use super::sender::{SendError, Sender, Waits};
use crate::crypto::tls;
use crate::domain::cause::Cause;
use crate::domain::reason::Reason;
use crate::domain::upstream::Timeouts;
use crate::net::tls::is_refusal;
use crate::proxy::codec::chunked::{Chunked, Piece};
use crate::proxy::codec::coding::Coding;
use crate::proxy::codec::fields;
use crate::proxy::codec::malformed::Malformed;
use crate::proxy::messages::error::Error;
use crate::proxy::messages::hints::Hints;

/// Sends the request and waits for the head of its answer, which may come while the body is still being sent.
///
/// Interim answers before it are skipped; their bytes are limited, and they do not extend the time limit. Early hints
/// among them go to the caller, if it can have them.
pub async fn exchange(
    connection: &mut UpstreamConnection,
    sender: &mut Sender,
    asked: Expected<'_>,
    timeouts: &Timeouts,
    hints: Option<&Hints>,
) -> Result<AnswerHead, Error> {
    let mut parser = AnswerParser::default();
    let mut interim = 0;
    let mut broken = None;
    let mut watched = None;
    poll_fn(|cx| {
        let mut waits = None;
        if broken.is_none() {
            match sender.poll(cx, connection) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(SendError::Body(error))) => return Poll::Ready(Err(error)),
                // An upstream may have answered before the end of the request, and closed.
                Poll::Ready(Err(SendError::Write(error))) => broken = Some(error),
                Poll::Pending => waits = Some(sender.waits_for()),
            }
        }
        // Bytes that come before the first of the request answer none of ours.
        while sender.has_begun() {
            match parser.take(&mut connection.input, asked).map_err(bad)? {
                Some(Parsed::Final(head)) => return Poll::Ready(Ok(head)),
                Some(Parsed::Interim { bytes, hints: said }) => {
                    interim += bytes;
                    if interim > INTERIM_BYTES_MAX {
                        let words = "interim answers have no end";
                        return Poll::Ready(Err(bad(BadAnswer::new(
                            Cause::AnswerInterimFlood,
                            words,
                        ))));
                    }
                    if let Some((hints, said)) = hints.zip(said) {
                        hints.give(said);
                    }
                }
                None => match connection.poll_fill(cx) {
                    Poll::Ready(Ok(0)) => {
                        let cause = broken
                            .take()
                            .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                        return Poll::Ready(Err(died(cause, connection, interim)));
                    }
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(died(error, connection, interim)));
                    }
                    Poll::Pending => break,
                },
            }
        }
        if let (Some(_), false) = (&broken, sender.has_begun()) {
            let cause = broken
                .take()
                .unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
            let error = Error::upstream(Reason::UpstreamFailed).because(cause);
            let error = error.by(Cause::ClosedBeforeAnswer);
            return Poll::Ready(Err(error.worth_a_retry()));
        }
        let situation = Some((waits, sender.progress()));
        if watched != situation {
            watched = situation;
            let time = if waits.is_some() {
                timeouts.idle
            } else {
                timeouts.first_byte
            };
            connection.deadline.set(time);
        }
        ready!(connection.deadline.poll(cx));
        Poll::Ready(Err(match waits {
            Some(Waits::Client) => Error::downstream(Reason::BodyTimeout),
            Some(Waits::Upstream) => late(Cause::RequestStalled),
            None => late(Cause::AnswerTimeout),
        }))
    })
    .await
}

/// The error of a connection that ended before the answer did. Without any byte of an answer, the upstream has most
/// likely closed it for being idle, and another connection may succeed.
fn died(cause: io::Error, connection: &UpstreamConnection, interim: usize) -> Error {
    // Since TLS 1.3 an upstream refuses our certificate only after our side of the handshake.
    let (reason, answer_cause) = if is_refusal(&cause) {
        (Reason::UpstreamTls, tls::upstream_cause(&cause))
    } else {
        (Reason::UpstreamFailed, Cause::ClosedBeforeAnswer)
    };
    let error = Error::upstream(reason).by(answer_cause).because(cause);
    if connection.input.is_empty() && interim == 0 {
        error.worth_a_retry()
    } else {
        error
    }
}

fn bad(answer: BadAnswer) -> Error {
    Error::upstream(Reason::UpstreamFailed)
        .by(answer.cause)
        .because(answer)
}

fn bad_chunk(malformed: Malformed) -> Error {
    Error::upstream(Reason::UpstreamFailed)
        .by(Cause::AnswerChunkInvalid)
        .because(malformed)
}

fn broke_off(error: io::Error) -> Error {
    Error::upstream(Reason::UpstreamFailed)
        .by(Cause::ClosedInAnswer)
        .because(error)
}

fn late(cause: Cause) -> Error {
    Error::upstream(Reason::UpstreamTimeout).by(cause)
}

/// A body that is still arriving.
#[derive(Debug)]
pub struct Http1Body {
    /// `None` once the body has ended, one way or the other.
    lease: Option<Lease>,
    coding: Coding,
    /// The rest of the request, when the upstream answered before it had it all.
    sender: Option<Sender>,
    keep_alive: bool,
    idle: Duration,
    waiting: bool,
}

/// The part of an answer's body that has come with its head.
pub enum Received {
    /// All of it; its connection serves other exchanges already.
    Whole(Bytes),
    Streaming(Http1Body),
}

/// The body that follows `head`. A small one that has come with the head is taken at once, and its connection
/// goes back before the client has seen a byte.
pub fn body(mut lease: Lease, head: &AnswerHead, sender: Sender, idle: Duration) -> Received {
    // An upstream that answers early may drop the rest of the request or may not; its connection is not trusted.
    let keep_alive = head.keep_alive && sender.is_done();
    let connection = lease.connection();
    connection.kept_for = head.kept_for.or(connection.kept_for);
    let coding = match head.framing {
        BodyLength::Length(length) => {
            let input = &mut connection.input;
            if let Ok(length) = usize::try_from(length)
                && input.len() >= length
            {
                let bytes = input.split_to(length).freeze();
                release(lease, keep_alive);
                return Received::Whole(bytes);
            }
            Coding::Length(length)
        }
        BodyLength::Chunked => Coding::Chunked(Chunked::of_an_answer()),
        BodyLength::UntilClose => Coding::UntilClose,
    };
    Received::Streaming(Http1Body {
        lease: Some(lease),
        coding,
        sender: Some(sender).filter(|sender| !sender.is_done()),
        keep_alive,
        idle,
        waiting: false,
    })
}

fn release(mut lease: Lease, keep_alive: bool) {
    if keep_alive && lease.connection().input.is_empty() {
        lease.give_back();
    }
}

impl Http1Body {
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let result = ready!(self.poll_piece(cx));
        self.waiting = false;
        Poll::Ready(match result {
            Ok(Some(frame)) => {
                // A body that has reached its length is not polled any more.
                if matches!(self.coding, Coding::Length(0)) {
                    self.end();
                }
                Some(Ok(frame))
            }
            Ok(None) => {
                self.end();
                None
            }
            Err(error) => Some(Err(match self.lease.take() {
                Some(lease) => lease.fail(error),
                None => error,
            })),
        })
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            release(lease, self.keep_alive);
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Error>> {
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(Ok(None));
        };
        let connection = lease.connection();
        if let Some(sender) = &mut self.sender {
            match sender.poll(cx, connection) {
                Poll::Pending => {}
                Poll::Ready(Err(SendError::Body(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(()) | Err(SendError::Write(_))) => self.sender = None,
            }
        }
        loop {
            if let Some(piece) = self.coding.take(&mut connection.input).map_err(bad_chunk)? {
                return Poll::Ready(Ok(match piece {
                    Piece::Data(data) => Some(Frame::data(data)),
                    Piece::Trailers(mut trailers) => {
                        fields::keep_trailers(&mut trailers);
                        Some(Frame::trailers(trailers))
                    }
                    Piece::End => None,
                }));
            }
            match connection.poll_fill(cx) {
                Poll::Ready(Ok(0)) if matches!(self.coding, Coding::UntilClose) => {
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(Ok(0)) => {
                    let cause = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Poll::Ready(Err(broke_off(cause)));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(broke_off(error)));
                }
                Poll::Pending => break,
            }
        }
        // The time begins with the wait, not with the last piece: the client may have been slow.
        if !std::mem::replace(&mut self.waiting, true) {
            connection.deadline.set(self.idle);
        }
        ready!(connection.deadline.poll(cx));
        Poll::Ready(Err(late(Cause::AnswerStalled)))
    }

    pub fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    pub fn size_hint(&self) -> SizeHint {
        match self.coding {
            Coding::Length(left) => SizeHint::with_exact(left),
            Coding::Chunked(_) | Coding::UntilClose => SizeHint::default(),
        }
    }
}

/// The limit for interim answers: an hour of one short answer a second, and many hints. They are dropped or passed on
/// at once.
const INTERIM_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::codec::field_list::FieldList;
    use crate::proxy::identity_headers::identity_fields::IdentityFields;
    use crate::proxy::upstream::request::{AnyBody, Head};
    use http::{HeaderValue, Method};
    use http_body::Body;
    use std::cell::Cell;
    use std::pin::Pin;
    use std::rc::Rc;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

    impl crate::net::stream::Peek for Counting {
        fn has_news(&self) -> bool {
            false
        }
    }

    #[derive(Debug, Default)]
    struct Calls {
        reads: Cell<usize>,
        writes: Cell<usize>,
    }

    /// A stream that counts the calls that would be system calls.
    #[derive(Debug)]
    struct Counting {
        stream: DuplexStream,
        calls: Rc<Calls>,
    }

    impl AsyncRead for Counting {
        fn poll_read(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let this = self.get_mut();
            let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
            this.calls
                .reads
                .set(this.calls.reads.get() + usize::from(polled.is_ready()));
            polled
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            this.calls.writes.set(this.calls.writes.get() + 1);
            Pin::new(&mut this.stream).poll_write(cx, buf)
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().stream).poll_flush(cx)
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
        }
    }

    /// A body that has nothing at the first poll, like hyper's, and then everything.
    struct Shy {
        asked: bool,
        pieces: Vec<Bytes>,
        length: Option<u64>,
    }

    impl Body for Shy {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            let this = self.get_mut();
            if !std::mem::replace(&mut this.asked, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(this.pieces.pop().map(|piece| Ok(Frame::data(piece))))
        }

        fn size_hint(&self) -> SizeHint {
            self.length
                .map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    async fn calls(method: Method, body: Option<AnyBody>, end: &str) -> (usize, usize) {
        let (stream, mut upstream) = tokio::io::duplex(64 << 10);
        let calls = Rc::new(Calls::default());
        let counting = Counting {
            stream,
            calls: Rc::clone(&calls),
        };
        let mut connection = UpstreamConnection::new(Box::new(counting));
        let head = Head {
            method,
            target: http::uri::PathAndQuery::from_static("/").into(),
            host: HeaderValue::from_static("api.example.com"),
            fields: FieldList::new(),
            identity: Rc::new(IdentityFields::default()),
            upgrade: None,
            hints: None,
        };
        let mut sender = Sender::begin(&mut connection, &head, body, false);
        let timeouts = Timeouts::default();
        let ask = exchange(
            &mut connection,
            &mut sender,
            Expected::default(),
            &timeouts,
            None,
        );
        let answer = async {
            let mut request = Vec::new();
            while !request.ends_with(end.as_bytes()) {
                request.push(upstream.read_u8().await.unwrap());
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
            upstream.write_all(answer).await.unwrap();
        };
        let (head, ()) = tokio::join!(ask, answer);
        assert_eq!(head.unwrap().framing, BodyLength::Length(5));
        assert_eq!(connection.input, "hello");
        (calls.writes.get(), calls.reads.get())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_request_is_one_write_and_its_answer_one_read() {
        let body = |pieces: &[&'static str], length| -> Option<AnyBody> {
            Some(Box::pin(Shy {
                asked: false,
                pieces: pieces
                    .iter()
                    .rev()
                    .map(|piece| Bytes::from(*piece))
                    .collect(),
                length,
            }))
        };
        assert_eq!(calls(Method::GET, None, "\r\n\r\n").await, (1, 1));
        let measured = body(&["hel", "lo"], Some(5));
        assert_eq!(calls(Method::POST, measured, "\r\n\r\nhello").await, (1, 1));
        let chunked = body(&["hel", "lo"], None);
        assert_eq!(
            calls(Method::POST, chunked, "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n").await,
            (1, 1)
        );
    }
}
