//! Exchanges over HTTP/2 with prior knowledge: hyper's connection with our bounds, deadlines and hygiene.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;

use super::deadline::Deadline;
use super::pool::SharedLease;
use super::replay::Taken;
use super::request::{AnyBody, BodyGone, Head, Reclaimed};
use crate::domain::cause::Cause;
use crate::domain::reason::Reason;
use crate::domain::upstream::{AnswerBounds, Timeouts};
use crate::net::http::{LocalExec, TokioIo, http2_client};
use crate::net::stream::Stream;
use crate::proxy::codec::field_list::FieldList;
use crate::proxy::codec::fields;
use crate::proxy::error::{Error, Side};

/// A connection that exchanges share.
pub struct Http2 {
    sender: SendRequest<RequestBody>,
    tls: bool,
    /// Streams that the upstream allows at once.
    allowed: Rc<Cell<usize>>,
    in_flight: Cell<usize>,
    quiet_since: Cell<Instant>,
    /// An exchange has found the connection dead, perhaps before its own task did.
    dead: Cell<bool>,
    pub opened: Instant,
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2")
            .field("in_flight", &self.in_flight)
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}

impl Http2 {
    /// Begins to speak HTTP/2 on a new stream. Its task ends when the last user is gone.
    pub async fn open(
        stream: Stream,
        tls: bool,
        time: Duration,
        bounds: &AnswerBounds,
    ) -> Result<Self, Error> {
        if tls && !stream.alpn_h2() {
            let error = Error::upstream(Reason::UpstreamTls).by(Cause::TlsNoHttp2);
            return Err(error.because("the upstream does not agree on h2"));
        }
        let fields = u32::try_from(bounds.headers_max).unwrap_or(u32::MAX);
        let bytes = u32::try_from(bounds.header_bytes_max).unwrap_or(u32::MAX);
        let shake_hands = http2_client(bytes, fields).handshake(TokioIo::new(stream));
        let (sender, connection) = tokio::time::timeout(time, shake_hands)
            .await
            .map_err(|elapsed| unreachable(Cause::ConnectTimeout).because(elapsed))?
            .map_err(|error| unreachable(Cause::Http2Failed).because(error))?;
        let allowed = Rc::new(Cell::new(STREAMS_MAX));
        tokio::task::spawn_local(drive(connection, Rc::clone(&allowed)));
        let now = Instant::now();
        Ok(Self {
            sender,
            tls,
            allowed,
            in_flight: Cell::new(0),
            quiet_since: Cell::new(now),
            dead: Cell::new(false),
            opened: now,
        })
    }

    pub fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    pub fn end(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        self.quiet_since.set(Instant::now());
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Whether another exchange fits, by our bound and the upstream's.
    pub fn has_room(&self) -> bool {
        let bound = self.allowed.get().min(STREAMS_MAX);
        self.in_flight.get() < bound.max(1)
    }

    pub fn is_closed(&self) -> bool {
        self.dead.get() || self.sender.is_closed()
    }

    /// How long nothing has been under way; `None` when something is.
    pub fn quiet_for(&self, now: Instant) -> Option<Duration> {
        (self.in_flight.get() == 0).then(|| now - self.quiet_since.get())
    }
}

fn unreachable(cause: Cause) -> Error {
    Error::upstream(Reason::UpstreamUnreachable).by(cause)
}

/// Runs the connection, and keeps an eye on how many streams the upstream allows.
async fn drive(
    mut connection: hyper::client::conn::http2::Connection<TokioIo<Stream>, RequestBody, LocalExec>,
    allowed: Rc<Cell<usize>>,
) {
    let ended = std::future::poll_fn(|cx| {
        let polled = Pin::new(&mut connection).poll(cx);
        allowed.set(connection.current_max_send_streams());
        polled
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "an HTTP/2 connection to an upstream failed");
    }
}

/// An answer, or a stream that the upstream agreed to make a tunnel.
pub enum Outcome {
    Answer(Response<Incoming>, Rc<Sending>),
    Tunnel(Response<()>, hyper::upgrade::Upgraded),
}

/// Why there is no answer.
pub struct Unanswered {
    pub error: Error,
    /// Where the body comes back, the request may be sent again: the upstream has not processed it, or the connection
    /// died and sending twice is harmless.
    pub body: Reclaimed,
    /// The upstream itself has said that it has not processed the request.
    pub refused: bool,
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self {
            error,
            body: Err(BodyGone),
            refused: false,
        }
    }
}

/// Sends the request and waits for the head of its answer.
pub async fn exchange(
    lease: &SharedLease,
    head: &Head,
    body: Option<AnyBody>,
    timeouts: &Timeouts,
) -> Result<Outcome, Unanswered> {
    let connection = &lease.connection;
    let request = request(head, connection.tls)?;
    let sending = Rc::new(Sending::default());
    let harmless = body.is_none() && head.upgrade.is_none() && head.method.is_idempotent();
    let body = RequestBody::new(body, Rc::clone(&sending));
    let mut answer = std::pin::pin!(
        connection
            .sender
            .clone()
            .try_send_request(request.map(|()| body))
    );
    let mut deadline = Deadline::after(timeouts.first_byte);
    let mut watched = None;
    let answered = std::future::poll_fn(|cx| {
        if let Poll::Ready(answered) = answer.as_mut().poll(cx) {
            return Poll::Ready(Some(answered));
        }
        loop {
            let situation = Some((sending.done.get(), sending.progress.get()));
            if watched != situation {
                watched = situation;
                deadline.set(if sending.done.get() {
                    timeouts.first_byte
                } else {
                    timeouts.idle
                });
            }
            ready!(deadline.poll(cx));
            if watched == Some((sending.done.get(), sending.progress.get())) {
                return Poll::Ready(None);
            }
        }
    })
    .await;
    let response = match answered {
        Some(Ok(response)) => response,
        Some(Err(refused)) => return Err(unanswered(connection, &sending, refused, harmless)),
        None => return Err(late(&sending).into()),
    };
    sending.answered();
    if head.upgrade.is_some() && response.status().is_success() {
        let mut response = response;
        let upgraded = hyper::upgrade::on(&mut response)
            .await
            .map_err(|error| sending.failure(error, Cause::ClosedBeforeAnswer))?;
        return Ok(Outcome::Tunnel(response.map(|_| ()), upgraded));
    }
    Ok(Outcome::Answer(response, sending))
}

/// What has become of a request without an answer.
fn unanswered(
    connection: &Http2,
    sending: &Sending,
    mut refused: TrySendError<Request<RequestBody>>,
    harmless: bool,
) -> Unanswered {
    let message = refused.take_message();
    let error = refused.into_error();
    let (died, refused) = (has_died(&error), is_refused(&error));
    if died {
        connection.dead.set(true);
    }
    let error = sending.failure(error, Cause::ClosedBeforeAnswer);
    let body = if error.side != Side::Upstream {
        Err(BodyGone)
    } else if message.is_some() || refused {
        // Given back, it has not been sent.
        sending.reclaim()
    } else if died && harmless {
        Ok(None)
    } else {
        Err(BodyGone)
    };
    let error = if body.is_ok() {
        error.worth_a_retry()
    } else {
        error
    };
    Unanswered {
        error,
        body,
        refused,
    }
}

/// Who has let the exchange wait for too long.
fn late(sending: &Sending) -> Error {
    if sending.wants.get() {
        return Error::downstream(Reason::BodyTimeout);
    }
    Error::upstream(Reason::UpstreamTimeout).by(if sending.done.get() {
        Cause::AnswerTimeout
    } else {
        Cause::RequestStalled
    })
}

/// Whether it is the connection that failed, or the upstream that is leaving it, rather than this one stream.
fn has_died(error: &hyper::Error) -> bool {
    let Some(cause) = std::error::Error::source(error) else {
        return false;
    };
    cause.is::<std::io::Error>()
        || cause
            .downcast_ref::<h2::Error>()
            .is_some_and(|cause| cause.is_io() || (cause.is_go_away() && cause.is_remote()))
}

/// Whether the upstream says that it has not processed the request (RFC 9113, 8.7): it has refused the stream, or it is
/// leaving and has not got as far as this one.
fn is_refused(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|cause| cause.downcast_ref::<h2::Error>())
        .is_some_and(|cause| {
            let stream = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
            cause.is_remote() && (stream || cause.is_go_away())
        })
}

fn request(head: &Head, tls: bool) -> Result<Request<()>, Error> {
    // HTTP/1.0 may name no host, and the library sends no request without one.
    let authority = match head.host.as_bytes() {
        b"" => b"localhost",
        host => host,
    };
    let target = head.target.encoded();
    let target =
        target.map_err(|error| Error::downstream(Reason::RequestMalformed).because(error))?;
    let uri = Uri::builder()
        .scheme(if tls { "https" } else { "http" })
        .authority(authority)
        .path_and_query(target)
        .build()
        .map_err(|error| Error::downstream(Reason::HostInvalid).because(error))?;
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = head.method.clone();
    if let Some(protocol) = &head.upgrade {
        *request.method_mut() = Method::CONNECT;
        let protocol = protocol
            .to_str()
            .map_err(|error| Error::downstream(Reason::UpgradeRefused).because(error))?;
        request
            .extensions_mut()
            .insert(hyper::ext::Protocol::from(protocol));
    }
    let headers = request.headers_mut();
    headers.reserve(head.fields.len() + head.identity.fields.len() + 1);
    for (name, value) in head.fields.iter() {
        let ours = matches!(
            name.as_str(),
            "host" | "content-length" | "sec-websocket-key"
        );
        if !ours && !fields::is_hop_by_hop(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    for (name, value) in &head.identity.fields {
        headers.append(name.clone(), value.clone());
    }
    // True of us, and gRPC servers insist.
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    Ok(request)
}

/// How far the request's body has got; shared with the one who waits for the answer.
#[derive(Default)]
pub struct Sending {
    body: RefCell<Option<AnyBody>>,
    /// Until the answer is here.
    taken: RefCell<Taken>,
    /// Nobody sends any more.
    over: Cell<bool>,
    has_answer: Cell<bool>,
    done: Cell<bool>,
    progress: Cell<u64>,
    /// The client was asked for more and has not answered.
    wants: Cell<bool>,
    /// What the client's body failed with; hyper only tells that the stream was reset.
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
    /// The body as it was, if not too much of it has been sent.
    fn reclaim(&self) -> Reclaimed {
        let rest = self.body.take();
        self.taken.take().again(rest)
    }

    /// The request is not sent again.
    fn answered(&self) {
        self.has_answer.set(true);
        self.taken.borrow_mut().forget();
        self.let_go();
    }

    /// Holds the body no longer than it may be sent, once or again: its connection waits for that.
    fn let_go(&self) {
        if self.over.get() && self.has_answer.get() {
            drop(self.body.take());
        }
    }

    /// What hyper says went wrong, unless it was the client's own body; `closed` is the cause if the connection ended.
    fn failure(&self, error: hyper::Error, closed: Cause) -> Error {
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

struct RequestBody {
    sending: Rc<Sending>,
}

impl RequestBody {
    fn new(body: Option<AnyBody>, sending: Rc<Sending>) -> Self {
        sending.done.set(body.is_none());
        *sending.body.borrow_mut() = body;
        Self { sending }
    }
}

impl Body for RequestBody {
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

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.sending.done.set(true);
        self.sending.over.set(true);
        self.sending.let_go();
    }
}

/// Removes what is not the client's, as it is done for HTTP/1.1.
pub fn clean(given: &mut FieldList) {
    given.retain(|name, _| !fields::is_hop_by_hop(name) && !fields::is_reserved(name));
}

/// A body that is still arriving. Dropped, it resets its stream.
#[derive(Debug)]
pub struct Http2Body {
    incoming: Incoming,
    sending: Rc<Sending>,
    /// Keeps the stream counted.
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

/// Exchanges that share one connection; h2's own default of what a server should allow.
pub const STREAMS_MAX: usize = 100;
