//! One request over HTTP/2, and its answer: a stream of the connection that it came on.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::iter::successors;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderValue, StatusCode, header};
use http_body::Body;
use tokio::time::{Instant, timeout_at};

use super::body::Leftover;
use super::date::DateText;
use super::service::{Answers, BoxedAnswer};
use crate::net::discard::Discard;
use crate::net::duplex::{Duplex, poll_room};
use crate::net::unsent::{Piece, Unsent};
use crate::proxy::bodies::body::ResponseBody;
use crate::proxy::bodies::upgrade::UpgradeSender;
use crate::proxy::codec::field_list::FieldList;
use crate::proxy::codec::fields::is_hop_by_hop;
use crate::proxy::messages::hints::Hints;
use crate::proxy::messages::message::Response;
use crate::proxy::upstream::deadline::Deadline;

/// Flow control for the answers of one connection.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The bytes that all streams together hold.
    pub unsent: Rc<Unsent>,
    /// The time for which the client may take nothing of an answer.
    pub unread: Duration,
}

/// A request that is being answered.
pub struct Stream {
    reply: SendResponse<Piece>,
    answer: BoxedAnswer,
    /// The receiver of the stream after an upgrade, and the stream's input.
    tunnel: Option<(UpgradeSender, RecvStream)>,
    /// The slot with the unread rest of the request, and the limits for discarding it.
    leftover: Option<(Leftover, Discard)>,
    /// Early hints of the upstream.
    hints: Option<Rc<Hints>>,
}

impl Stream {
    pub const fn new(reply: SendResponse<Piece>, answer: BoxedAnswer) -> Self {
        Self {
            reply,
            answer,
            tunnel: None,
            leftover: None,
            hints: None,
        }
    }

    /// The same stream, which another protocol may take over.
    pub fn switching(self, handover: UpgradeSender, incoming: RecvStream) -> Self {
        Self {
            tunnel: Some((handover, incoming)),
            ..self
        }
    }

    /// The same stream, whose body may be left unread.
    pub fn leaving(self, leftover: Option<Leftover>, discard: Discard) -> Self {
        Self {
            leftover: leftover.map(|leftover| (leftover, discard)),
            ..self
        }
    }

    /// The same stream, which sends hints before the answer.
    pub fn hinting(self, hints: Rc<Hints>) -> Self {
        Self {
            hints: Some(hints),
            ..self
        }
    }

    /// Waits for the answer and sends it; stops as soon as the client takes its request back.
    pub async fn run<A: Answers>(self, answers: Rc<A>, flow: Flow) {
        let Self {
            mut reply,
            answer,
            tunnel,
            leftover,
            hints,
        } = self;
        let Some(response) = answered(answer, hints.as_deref(), &mut reply).await else {
            return;
        };
        let date = answers.date();
        let sent = match tunnel {
            Some((handover, incoming)) if handover.is_awaited() => {
                let head = head(response.status, response.fields, None, date);
                reply.send_response(head, false).map(|outgoing| {
                    handover.hand_over(Box::new(Duplex::new(incoming, outgoing)));
                })
            }
            _ => send(response, date, &mut reply, flow).await,
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer was not sent to its end");
            // An answer that cannot be begun ends like one that breaks off. A client that has left does not see it.
            reply.send_reset(Reason::INTERNAL_ERROR);
        } else if let Some((leftover, bounds)) = leftover
            && let Some(rest) = leftover.take()
        {
            answers.discarding(true);
            pass_over(rest, bounds).await;
            answers.discarding(false);
        }
    }
}

/// Discards the rest of an answered request. A stream without an end is then reset with `NO_ERROR` (RFC 9113, 8.1).
/// Clients take a reset that comes while they send for the loss of the answer, too, so it is the last resort.
async fn pass_over(mut rest: RecvStream, bounds: Discard) {
    let over = Instant::now() + bounds.time;
    let mut left = bounds.bytes;
    while left > 0 {
        let within = over.min(Instant::now() + bounds.pause);
        let Ok(Some(Ok(data))) = timeout_at(within, rest.data()).await else {
            return;
        };
        left = left.saturating_sub(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if rest.flow_control().release_capacity(data.len()).is_err() {
            return;
        }
    }
}

/// Waits for the answer; `None` when the client has reset the stream, which drops the exchange.
async fn answered(
    mut answer: BoxedAnswer,
    hints: Option<&Hints>,
    reply: &mut SendResponse<Piece>,
) -> Option<Response<ResponseBody>> {
    poll_fn(|cx| {
        let polled = answer.as_mut().poll(cx);
        for fields in hints.map(Hints::take).unwrap_or_default() {
            hint(fields, reply);
        }
        match polled {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => reply.poll_reset(cx).map(|_gone| None),
        }
    })
    .await
}

/// Sends a 103. A client that has left does not need it.
fn hint(fields: FieldList, reply: &mut SendResponse<Piece>) {
    let mut head = http::Response::new(());
    *head.status_mut() = StatusCode::EARLY_HINTS;
    for (name, value) in fields {
        if !is_hop_by_hop(&name) {
            head.headers_mut().append(name, value);
        }
    }
    if let Err(error) = reply.send_informational(head) {
        tracing::debug!(%error, "early hints were not sent");
    }
}

async fn send(
    response: Response<ResponseBody>,
    date: DateText,
    reply: &mut SendResponse<Piece>,
    mut flow: Flow,
) -> Result<(), h2::Error> {
    let Response {
        status,
        fields,
        body,
    } = response;
    let bodiless = body.is_end_stream();
    let length = body.size_hint().exact().filter(|_| !bodiless);
    let outgoing = reply.send_response(head(status, fields, length, date), bodiless)?;
    if bodiless {
        return Ok(());
    }
    flow.unread = body.pause().unwrap_or(flow.unread);
    send_body(body, outgoing, &flow).await
}

/// The head of an answer. `length` is for an answer that has no `Content-Length` yet.
fn head(
    status: StatusCode,
    fields: FieldList,
    length: Option<u64>,
    date: DateText,
) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    let map = head.headers_mut();
    map.reserve(fields.len() + 2);
    let (mut dated, mut measured) = (false, length.is_none());
    for (name, value) in fields {
        dated |= name == header::DATE;
        measured |= name == header::CONTENT_LENGTH;
        if !is_hop_by_hop(&name) {
            map.append(name, value);
        }
    }
    if let Some(length) = length.filter(|_| !measured) {
        map.append(header::CONTENT_LENGTH, length.into());
    }
    if !dated && let Ok(date) = HeaderValue::from_bytes(&date) {
        map.append(header::DATE, date);
    }
    head
}

/// Sends a body as fast as the client takes it; a client that takes nothing of it for too long loses this stream.
async fn send_body<B>(
    mut body: B,
    mut outgoing: SendStream<Piece>,
    flow: &Flow,
) -> Result<(), h2::Error>
where
    B: Body<Data = Bytes, Error: StdError + 'static> + Unpin,
{
    let mut patience = Patience::of(flow.unread);
    loop {
        patience.renew();
        let mut gone = 0;
        let polled = poll_fn(|cx| {
            if flow.unsent.poll_room(cx).is_pending() {
                // Another stream of the connection makes progress, so this one's time begins again.
                if std::mem::replace(&mut gone, flow.unsent.gone()) != flow.unsent.gone() {
                    patience.renew();
                }
                return patience.poll(cx, &mut outgoing).map(Err);
            }
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Ready(frame) => Poll::Ready(Ok(frame)),
                // A client may reset the stream while nothing is sent.
                Poll::Pending => poll_taken_back(&mut outgoing, cx).map(Err),
            }
        });
        let frame = match polled.await? {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                outgoing.send_reset(why(&error));
                return Ok(());
            }
            None => return outgoing.send_data(Bytes::new().into(), true),
        };
        let last = body.is_end_stream();
        match frame.into_data() {
            Ok(data) => {
                let piece = flow.unsent.hold(data);
                if piece.has_remaining() {
                    patience.renew();
                    poll_fn(|cx| match poll_room(&mut outgoing, cx) {
                        Poll::Pending => patience.poll(cx, &mut outgoing).map(Err),
                        ready @ Poll::Ready(_) => ready,
                    })
                    .await?;
                }
                outgoing.send_data(piece, last)?;
                if last {
                    return Ok(());
                }
            }
            Err(frame) => {
                // No data follows.
                outgoing.reserve_capacity(0);
                let trailers = frame.into_trailers().unwrap_or_default();
                return outgoing.send_trailers(trailers);
            }
        }
    }
}

fn poll_taken_back(outgoing: &mut SendStream<Piece>, cx: &mut Context<'_>) -> Poll<h2::Error> {
    let polled = outgoing.poll_reset(cx);
    polled.map(|gone| gone.map_or_else(|error| error, h2::Error::from))
}

/// The time limit for a client that has something to take.
struct Patience {
    within: Duration,
    /// The timer, made at the first wait.
    deadline: Option<Deadline>,
    waiting: bool,
}

impl Patience {
    const fn of(within: Duration) -> Self {
        Self {
            within,
            deadline: None,
            waiting: false,
        }
    }

    /// Begins the time again: the client has taken something.
    const fn renew(&mut self) {
        self.waiting = false;
    }

    /// Ready when the client took too long, and the stream has been reset; or when the client has reset it.
    fn poll(&mut self, cx: &mut Context<'_>, outgoing: &mut SendStream<Piece>) -> Poll<h2::Error> {
        let within = self.within;
        let deadline = self.deadline.get_or_insert_with(|| Deadline::after(within));
        if !std::mem::replace(&mut self.waiting, true) {
            deadline.set(within);
        }
        if deadline.poll(cx).is_ready() {
            outgoing.send_reset(Reason::CANCEL);
            return Poll::Ready(Reason::CANCEL.into());
        }
        poll_taken_back(outgoing, cx)
    }
}

/// The error code of an answer that broke off: the upstream's own over HTTP/2, or a failure.
fn why(error: &(dyn StdError + 'static)) -> Reason {
    successors(Some(error), |&error| error.source())
        .filter_map(|cause| cause.downcast_ref::<h2::Error>())
        .find_map(h2::Error::reason)
        .unwrap_or(Reason::INTERNAL_ERROR)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use http::HeaderName;
    use http_body::Frame;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::net::http::{ServerBounds, http2_server};

    const PIECE: usize = 8 << 10;
    const DATE: DateText = *b"Thu, 01 Jan 1970 00:00:00 GMT";

    /// A body without an end, which counts the bytes that were taken of it.
    struct Endless(Rc<Cell<usize>>);

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.set(self.0.get() + PIECE);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; PIECE])))))
        }
    }

    /// Begins an answer without an end to a client that has windows of 16 MiB, and reads not a byte.
    async fn hold(taken: Rc<Cell<usize>>) {
        let (near, mut far) = tokio::io::duplex(1 << 10);
        let mut asked = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        asked.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0]);
        asked.extend([0, 0, 4, 8, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        // GET https://localhost/
        asked.extend([0, 0, 14, 1, 5, 0, 0, 0, 1, 0x82, 0x87, 0x84, 0x41, 9]);
        asked.extend(b"localhost");
        far.write_all(&asked).await.unwrap();
        let library = http2_server(&ServerBounds::default());
        let mut connection = library.handshake::<_, Piece>(near).await.unwrap();
        let flow = Flow {
            unsent: Unsent::within(1 << 20),
            unread: Duration::from_mins(1),
        };
        tokio::task::spawn_local(async move {
            while let Some(request) = connection.accept().await {
                let (_, mut reply) = request.unwrap();
                let outgoing = reply.send_response(http::Response::new(()), false).unwrap();
                let (body, flow) = (Endless(Rc::clone(&taken)), flow.clone());
                tokio::task::spawn_local(async move { send_body(body, outgoing, &flow).await });
            }
        });
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_holds_little() {
        let taken = Rc::new(Cell::new(0));
        let holding = hold(Rc::clone(&taken));
        tokio::task::LocalSet::new().run_until(holding).await;
        let (held, buffer) = (taken.get(), 64 << 10);
        assert!(held > 0 && held <= buffer + 4 * PIECE, "{held}");
    }

    fn sent(fields: &[(&'static str, &'static str)], length: Option<u64>) -> Vec<String> {
        let mut list = FieldList::new();
        for (name, value) in fields {
            list.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let head = head(StatusCode::OK, list, length, DATE);
        let fields = head.headers().iter();
        fields
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn an_answers_head_says_when_and_how_much_and_nothing_of_connections() {
        let date = "date: Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(sent(&[], None), [date]);
        assert_eq!(sent(&[], Some(3)), ["content-length: 3", date]);
        let own = [("content-length", "5"), ("date", "today")];
        assert_eq!(sent(&own, Some(3)), ["content-length: 5", "date: today"]);
        let hops = [
            ("connection", "close"),
            ("x-a", "1"),
            ("x-a", "2"),
            ("te", "trailers"),
        ];
        assert_eq!(sent(&hops, None), ["x-a: 1", "x-a: 2", date]);
    }

    #[test]
    fn a_stream_ends_as_what_broke_it_did() {
        let upstream = crate::proxy::messages::error::Error::upstream(
            crate::domain::reason::Reason::UpstreamFailed,
        );
        let reset = upstream.because(h2::Error::from(Reason::CANCEL));
        assert_eq!(why(&reset), Reason::CANCEL);
        assert_eq!(why(&std::fmt::Error), Reason::INTERNAL_ERROR);
    }
}
