//! HTTP/2 connections. Frames, windows and HPACK are the library's; here each request becomes a stream of its own, and
//! the frames of all streams in one turn leave in one write.

use std::future::{Future, ready as at_once};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Connection, Handshake, SendResponse};
use http::{Method, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::{Incoming, StreamBody};
use super::leaving::{Leaving, OpenStream, Streams, goodbye, linger};
use super::service::Answers;
use super::stream::{Flow, Stream};
use crate::domain::reason::Reason;
use crate::net::discard::Discard;
use crate::net::http::{ServerBounds, http2_server};
use crate::net::keep_alive::KeepAlive;
use crate::net::outbox::{self, Gathered, Outbox};
use crate::net::targets::stream::{Paths, Targets, targets};
use crate::net::turn::{self, InTurns};
use crate::net::unsent::{Piece, Unsent};
use crate::proxy::bodies::upgrade::Upgrade;
use crate::proxy::messages::hints::Hints;
use crate::proxy::messages::message::Request;
use crate::proxy::messages::target::OddTarget;
use crate::proxy::report::closing::Closed;
use crate::proxy::upstream::deadline::Deadline;

/// An HTTP/2 connection; see the module. It resolves to the reason of its end.
pub struct Http2<S, A> {
    state: State<S>,
    outbox: Outbox<S>,
    /// Targets that were kept from the library.
    paths: Paths,
    answers: Rc<A>,
    /// The interval of PINGs to a silent client, and the time limit for their acknowledgement.
    ping: (Duration, Duration),
    discard: Discard,
    flow: Flow,
    /// The time by which the client has to take some of the held bytes.
    stuck: Option<Deadline>,
    /// True if nothing could be sent in the last turn.
    blocked: bool,
    streams: Rc<Streams>,
    /// The plan to send the client elsewhere, after it has had an answer.
    leaving: Option<Leaving>,
    /// True if it takes no more requests.
    finishing: bool,
}

enum State<S> {
    /// Before the client's preface.
    Opening(Handshake<Targets<Gathered<S>>, Piece>),
    Open(Connection<Targets<Gathered<S>>, Piece>, Option<KeepAlive>),
    /// The last frames are being sent.
    Closing(Pin<Box<dyn Future<Output = ()>>>),
}

impl<S, A> Http2<S, A>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    A: Answers + 'static,
{
    pub fn new(stream: S, answers: A, bounds: &ServerBounds) -> Self {
        let (stream, outbox) = outbox::gather(stream);
        let (stream, paths) = targets(stream);
        Self {
            state: State::Opening(http2_server(bounds).handshake(stream)),
            outbox,
            paths,
            answers: Rc::new(answers),
            ping: (bounds.ping_interval, bounds.ping_timeout),
            discard: bounds.discard,
            flow: Flow {
                unsent: Unsent::within(bounds.unsent_max),
                unread: bounds.unread,
            },
            stuck: None,
            blocked: false,
            streams: Rc::default(),
            leaving: None,
            finishing: false,
        }
    }

    /// Sends the client elsewhere for later requests. Not before its first request: a client that is turned away at
    /// each connect would give up.
    pub fn leave(&mut self) {
        self.leaving = Some(Leaving::begin(&self.streams));
        if let (true, State::Open(connection, _)) = (self.streams.are_several(), &mut self.state) {
            connection.graceful_shutdown();
        }
    }

    /// Finishes the running streams, and takes no new ones. A poll has to follow.
    pub fn finish(&mut self) {
        self.finishing = true;
        if let State::Open(connection, _) = &mut self.state {
            connection.graceful_shutdown();
        }
    }

    fn poll_on(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        if let State::Opening(handshake) = &mut self.state {
            match ready!(Pin::new(handshake).poll(cx)) {
                Ok(connection) => self.open(connection),
                Err(error) => return Poll::Ready(failed(&*self.answers, &error)),
            }
        }
        let (connection, pulse) = match &mut self.state {
            State::Opening(_) => return Poll::Pending,
            State::Open(connection, pulse) => (connection, pulse),
            State::Closing(goodbye) => return goodbye.as_mut().poll(cx).map(|()| Closed::Finished),
        };
        if let Some(pulse) = pulse
            && pulse.poll_gone(cx, self.outbox.heard()).is_ready()
        {
            return Poll::Ready(Closed::Idle);
        }
        loop {
            match ready!(connection.poll_accept(cx)) {
                Some(Ok((request, reply))) => {
                    let id = reply.stream_id().as_u32();
                    let path = self.paths.take(id);
                    let open = self.streams.open(id);
                    let bounds = (&self.flow, self.discard);
                    begin(&self.answers, request, path, reply, bounds, open);
                    if self.leaving.is_some() && self.streams.are_several() {
                        connection.graceful_shutdown();
                    }
                }
                Some(Err(error)) => return Poll::Ready(failed(&*self.answers, &error)),
                None => {
                    let linger = linger(self.outbox.stream());
                    self.state = State::Closing(Box::pin(linger));
                    return self.poll_on(cx);
                }
            }
        }
    }

    /// True if the client may be sent elsewhere, and HTTP/2 has nothing more to send.
    fn may_close(&mut self, cx: &mut Context<'_>) -> bool {
        let (Some(leaving), State::Open(..)) = (&mut self.leaving, &self.state) else {
            return false;
        };
        let sent = !self.outbox.is_behind() && self.flow.unsent.is_empty();
        sent && !self.finishing && leaving.is_time(cx, &self.streams)
    }

    /// Sends the frames of this turn. Ready when the client has taken nothing for too long.
    fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A full socket wakes this task when it has room.
        if self.outbox.poll_send(cx).is_ready() {
            self.blocked = false;
            return Poll::Pending;
        }
        let within = self.flow.unread;
        let stuck = self.stuck.get_or_insert_with(|| Deadline::after(within));
        if !std::mem::replace(&mut self.blocked, true) {
            stuck.set(within);
        }
        stuck.poll(cx)
    }

    fn open(&mut self, mut connection: Connection<Targets<Gathered<S>>, Piece>) {
        if self.finishing {
            connection.graceful_shutdown();
        }
        let (every, within) = self.ping;
        let pings = connection.ping_pong();
        let pulse = pings.map(|pings| KeepAlive::new(pings, every, within));
        self.state = State::Open(connection, pulse);
    }
}

impl<S, A> Future for Http2<S, A>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    A: Answers + 'static,
{
    type Output = Closed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        let this = self.get_mut();
        this.outbox.begin();
        let mut polled = turn::take(|| this.poll_on(cx));
        if polled.is_pending() && this.may_close(cx) {
            // In one write with the last answer: a client that has read it knows of the end before its next request.
            let goodbye = goodbye(this.outbox.stream(), Rc::clone(&this.streams));
            this.state = State::Closing(Box::pin(goodbye));
            polled = this.poll_on(cx);
        }
        if polled.is_pending() && this.poll_stuck(cx).is_ready() {
            return Poll::Ready(Closed::Stalled);
        }
        polled
    }
}

fn failed<A: Answers>(answers: &A, error: &h2::Error) -> Closed {
    tracing::debug!(%error, "connection failed");
    // A client that leaves, or reports an error itself, has broken no rule.
    if !error.is_io() && !error.is_remote() {
        answers.rules_broken(error);
    }
    Closed::Failed
}

/// Begins the exchange of one request, which runs by itself, beside the others of its connection.
fn begin<A: Answers + 'static>(
    answers: &Rc<A>,
    request: http::Request<RecvStream>,
    path: Option<Bytes>,
    reply: SendResponse<Piece>,
    (flow, discard): (&Flow, Discard),
    open: OpenStream,
) {
    let (parts, incoming) = request.into_parts();
    let mut request = Box::new(Request::from(parts));
    request.odd_target = path.and_then(OddTarget::unjudged).map(Box::new);
    let length = promised(&request);
    let stream = if request.method != Method::CONNECT {
        let hints = Rc::<Hints>::default();
        request.hints = Some(Rc::clone(&hints));
        let body = StreamBody::new(incoming, length);
        let leftover = body.leftover();
        let answer = answers.answer(request, Incoming::Http2(body), None);
        Stream::new(reply, answer)
            .leaving(leftover, discard)
            .hinting(hints)
    } else if length.is_none_or(|length| length == 0) {
        let (handover, upgrade) = Upgrade::offered();
        let answer = answers.answer(request, Incoming::Nothing, Some(upgrade));
        Stream::new(reply, answer).switching(handover, incoming)
    } else {
        // The bytes that follow are a tunnel's, and not a body (RFC 9110, 9.3.6).
        let refused = answers.refuse(Reason::RequestMalformed);
        Stream::new(reply, Box::pin(at_once(refused)))
    };
    let run = stream.run(Rc::clone(answers), flow.clone());
    tokio::task::spawn_local(InTurns::new(async move {
        run.await;
        drop(open);
    }));
}

/// The length of the body by the request's head; `None` if it has several.
fn promised(request: &Request) -> Option<u64> {
    let value = request.fields.one(&header::CONTENT_LENGTH).ok()??;
    value.to_str().ok()?.parse().ok()
}

#[cfg(test)]
#[path = "http2_tests.rs"]
mod tests;
