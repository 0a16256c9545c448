//! Bodies in transit: bounded, timed, counted, and not held.

use std::error::Error as StdError;
use std::future::Future;
use std::iter::successors;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::domain::issuer::ToldNames;
use crate::domain::pace::Pace;
use crate::domain::reason::Reason;

use crate::proxy::connections::expiry::Expiry;
use crate::proxy::connections::live::Running;
use crate::proxy::fields::headers;
use crate::proxy::messages::error::Error;
use crate::proxy::report::record::{BodyProgress, Recording};
use crate::proxy::report::worker_metrics::WorkerMetrics;
use crate::proxy::upstream::body::AnswerBody;

/// A request's body as it arrives.
#[derive(Debug)]
pub struct RequestBody<B> {
    inner: B,
    bounds: BodyBounds,
    arrival: Rc<BodyProgress>,
    metrics: Rc<WorkerMetrics>,
    /// The stall timer, made at the first wait; many bodies arrive at once and never need it.
    stall: Option<Pin<Box<Sleep>>>,
    /// The time since which nothing has come, during a wait.
    waiting: Option<Instant>,
    /// The time that earlier waits for the client took. Waits for the upstream are not its fault.
    waited: Duration,
    over: bool,
}

/// Limits on the size of a body and the slowness of its sender.
#[derive(Clone, Debug)]
pub struct BodyBounds {
    pub bytes_max: Option<u64>,
    pub stall: Duration,
    pub pace: Pace,
    /// The time for which the request may run.
    pub expiry: Expiry,
    /// The names that no trailer may have, if there are any.
    pub told: Option<Arc<ToldNames>>,
}

impl<B> RequestBody<B> {
    pub fn new(
        inner: B,
        bounds: BodyBounds,
        arrival: Rc<BodyProgress>,
        metrics: Rc<WorkerMetrics>,
    ) -> Self {
        Self {
            inner,
            bounds,
            arrival,
            metrics,
            stall: None,
            waiting: None,
            waited: Duration::ZERO,
            over: false,
        }
    }

    /// Ready if the body has stalled or comes too slowly, now that nothing more has come.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        let begins = self.waiting.is_none();
        let since = *self.waiting.get_or_insert_with(Instant::now);
        let deadline = since + self.bounds.stall.min(self.slack());
        let deadline = self
            .bounds
            .expiry
            .end()
            .map_or(deadline, |end| end.min(deadline));
        let stall = match &mut self.stall {
            Some(stall) => {
                if begins {
                    stall.as_mut().reset(deadline);
                }
                stall
            }
            none => none.insert(Box::pin(sleep_until(deadline))),
        };
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(match self.bounds.expiry.first(stall.deadline()) {
            Some(reason) => reason,
            None => Reason::BodyTimeout,
        })
    }

    /// The time for which the client may still be waited for, by the number of bytes so far.
    fn slack(&self) -> Duration {
        if self.arrival.answered.get() {
            return Duration::MAX;
        }
        let Pace {
            grace,
            bytes_per_second,
        } = self.bounds.pace;
        let earned = Duration::from_secs(self.arrival.bytes.get() / bytes_per_second.max(1));
        grace.max(earned).saturating_sub(self.waited)
    }

    fn take(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, Reason> {
        if let Some(since) = self.waiting.take() {
            self.waited += since.elapsed();
        }
        if let Some(data) = frame.data_ref() {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            let count = self.arrival.bytes.get().saturating_add(length);
            self.arrival.bytes.set(count);
            if self.bounds.bytes_max.is_some_and(|max| count > max) {
                return Err(Reason::BodyTooLarge);
            }
        }
        if let Some(trailers) = frame.trailers_mut() {
            let spoofed = headers::clean_trailers(trailers, self.bounds.told.as_deref());
            self.metrics.all.spoofed(&spoofed);
        }
        Ok(frame)
    }

    fn end(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.over = true;
        Poll::Ready(Some(Err(error)))
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: StdError + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        if let Some(reason) = this.bounds.expiry.over() {
            return this.end(Error::downstream(reason));
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => match this.take(frame) {
                Ok(frame) => Poll::Ready(Some(Ok(frame))),
                Err(reason) => this.end(Error::downstream(reason)),
            },
            Poll::Ready(Some(Err(error))) => {
                let reason = broken(&error);
                this.end(Error::downstream(reason).because(error))
            }
            Poll::Ready(None) => {
                this.over = true;
                Poll::Ready(None)
            }
            Poll::Pending => match this.poll_stall(cx) {
                Poll::Ready(reason) => this.end(Error::downstream(reason)),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The reason for a body that broke off: bad framing, or a client that has left.
fn broken(error: &(dyn StdError + 'static)) -> Reason {
    use std::io::ErrorKind::{InvalidData, InvalidInput, Other};
    let mut causes = successors(Some(error), |&error| error.source());
    match causes.find_map(|cause| cause.downcast_ref::<std::io::Error>()) {
        Some(io) if matches!(io.kind(), InvalidInput | InvalidData | Other) => {
            Reason::RequestMalformed
        }
        _ => Reason::ClientClosed,
    }
}

/// The content of an answer.
#[derive(Debug)]
pub enum Content {
    /// A body made here.
    Whole(Bytes),
    Upstream(AnswerBody),
}

/// An answer's body as it leaves. Holds the record of its exchange, which closes with it.
#[derive(Debug)]
pub struct ResponseBody {
    content: Content,
    /// The length that the answer's head promised, if any.
    promised: Option<u64>,
    sent: u64,
    exchange: Option<(Recording, Running)>,
    /// A timer for the end of the request's expiry; made at the first wait.
    end: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    /// The body of one answer; `bodyless` for an answer with a head only, as to `HEAD`.
    pub fn new(
        content: Content,
        bodyless: bool,
        recording: Recording,
        mut running: Running,
    ) -> Self {
        // From here on the client has to take something: without a window its stream never polls the body.
        running.gave();
        let promised = match &content {
            _ if bodyless => Some(0),
            Content::Whole(bytes) => u64::try_from(bytes.len()).ok(),
            Content::Upstream(body) => body.size_hint().exact(),
        };
        Self {
            content,
            promised,
            sent: 0,
            exchange: Some((recording, running)),
            end: None,
        }
    }

    /// The body of an answer after which the connection is a tunnel; the tunnel keeps the record.
    pub fn none() -> Self {
        Self {
            content: Content::Whole(Bytes::new()),
            promised: Some(0),
            sent: 0,
            exchange: None,
            end: None,
        }
    }

    /// The route's limit on the time for which the client may take nothing, if it has one.
    pub fn pause(&self) -> Option<Duration> {
        self.exchange
            .as_ref()
            .and_then(|(_, running)| running.pause())
    }

    /// Ready when an unfinished answer has to end, because the proof that admitted its request has expired.
    fn poll_end(&mut self, cx: &mut Context<'_>, waits: bool) -> Poll<Error> {
        let expiry = match (&self.exchange, &self.content) {
            (Some((_, running)), Content::Upstream(body)) if !body.is_whole() => running.expiry(),
            _ => return Poll::Pending,
        };
        let over = match expiry.end() {
            Some(end) if waits => {
                let timer = self.end.get_or_insert_with(|| Box::pin(sleep_until(end)));
                ready!(timer.as_mut().poll(cx));
                expiry.first(end)
            }
            _ => expiry.over(),
        };
        match over {
            Some(reason) => Poll::Ready(Error::downstream(reason)),
            None => Poll::Pending,
        }
    }

    fn note(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, Error>>>) {
        let Some((recording, running)) = &mut self.exchange else {
            return;
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    recording.sent(data.len());
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    self.sent = self.sent.saturating_add(length);
                    running.gave();
                }
            }
            Poll::Ready(Some(Err(error))) => {
                // A connection that was cut looks like one that its client has left.
                recording.reason(running.cut().unwrap_or(error.reason));
                recording.failed(error);
            }
            Poll::Ready(None) => recording.complete(),
            Poll::Pending => {}
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if let Some((_, running)) = &mut this.exchange {
            running.taken();
        }
        if let Poll::Ready(error) = this.poll_end(cx, false) {
            let ended = Poll::Ready(Some(Err(error)));
            this.note(&ended);
            return ended;
        }
        let mut polled = match &mut this.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Upstream(body) => Pin::new(body).poll_frame(cx),
        };
        if polled.is_pending()
            && let Poll::Ready(error) = this.poll_end(cx, true)
        {
            polled = Poll::Ready(Some(Err(error)));
        }
        this.note(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Content::Upstream(body) => body.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    /// A body is dropped once all promised bytes are there, without a poll for its end.
    fn drop(&mut self) {
        let whole = self.promised.is_some_and(|promised| self.sent >= promised);
        let whole = whole || self.is_end_stream();
        if let Some((recording, running)) = &mut self.exchange {
            if whole {
                recording.complete();
            } else if let Some(reason) = running.cut() {
                recording.reason(reason);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use http::{HeaderMap, HeaderValue};
    use http_body_util::BodyExt;

    use super::*;

    /// A body in pieces; `None` among them is one that never comes.
    struct Pieces(VecDeque<Option<Frame<Bytes>>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
                Some(None) => {
                    self.0.push_front(None);
                    Poll::Pending
                }
                None => Poll::Ready(None),
            }
        }
    }

    fn body(pieces: Vec<Option<Frame<Bytes>>>, bytes_max: Option<u64>) -> RequestBody<Pieces> {
        RequestBody::new(
            Pieces(pieces.into()),
            BodyBounds {
                bytes_max,
                stall: Duration::from_secs(30),
                pace: Pace {
                    grace: Duration::from_secs(10),
                    bytes_per_second: 100,
                },
                expiry: Expiry::default(),
                told: None,
            },
            Rc::default(),
            Rc::clone(&crate::proxy::report::record::tests::book().metrics),
        )
    }

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_body_within_its_bound_passes_and_one_byte_more_does_not() {
        let fits = body(vec![Some(data("abc")), Some(data("de"))], Some(5));
        let arrival = Rc::clone(&fits.arrival);
        assert_eq!(fits.collect().await.unwrap().to_bytes(), "abcde");
        assert_eq!(arrival.bytes.get(), 5);
        let error = body(vec![Some(data("abc")), Some(data("def"))], Some(5))
            .collect()
            .await;
        assert_eq!(error.unwrap_err().reason, Reason::BodyTooLarge);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_body_that_stalls_ends() {
        let mut stalls = body(vec![Some(data("abc")), None], None);
        stalls.bounds.stall = Duration::from_millis(20);
        let began = Instant::now();
        let error = stalls.collect().await.unwrap_err();
        assert_eq!(error.reason, Reason::BodyTimeout);
        assert!(began.elapsed() >= Duration::from_millis(20));
    }

    /// A body of one byte at a time without end, after a pause.
    struct Trickle(Pin<Box<Sleep>>);

    impl Body for Trickle {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            std::task::ready!(self.0.as_mut().poll(cx));
            let next = Instant::now() + Duration::from_millis(10);
            self.0.as_mut().reset(next);
            Poll::Ready(Some(Ok(data("x"))))
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_body_that_trickles_ends() {
        let began = Instant::now();
        let trickles = RequestBody::new(
            Trickle(Box::pin(tokio::time::sleep(Duration::ZERO))),
            BodyBounds {
                bytes_max: None,
                stall: Duration::from_secs(30),
                pace: Pace {
                    grace: Duration::from_millis(100),
                    bytes_per_second: 1000,
                },
                expiry: Expiry::default(),
                told: None,
            },
            Rc::default(),
            Rc::clone(&crate::proxy::report::record::tests::book().metrics),
        );
        let error = trickles.collect().await.unwrap_err();
        assert_eq!(error.reason, Reason::BodyTimeout);
        assert!(began.elapsed() >= Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_ends_with_what_let_its_request_in() {
        let at = crate::domain::time::Timestamp::from_unix_millis;
        let expiry = || Expiry::until(Some((at(500), Reason::TokenExpired)), at(0));
        let mut quiet = body(vec![Some(data("abc")), None], None);
        quiet.bounds.expiry = expiry();
        let began = Instant::now();
        let error = quiet.collect().await.unwrap_err();
        assert_eq!(error.reason, Reason::TokenExpired);
        assert_eq!(began.elapsed(), Duration::from_millis(500));
        let mut busy = body(vec![Some(data("abc")), Some(data("de"))], None);
        busy.bounds.expiry = expiry();
        assert!(busy.frame().await.unwrap().is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        let error = busy.frame().await.unwrap().unwrap_err();
        assert_eq!(error.reason, Reason::TokenExpired);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_is_being_answered_is_not_hurried() {
        let mut quiet = body(vec![None], None);
        quiet.bounds.stall = Duration::from_millis(60);
        quiet.bounds.pace.grace = Duration::from_millis(10);
        quiet.arrival.answered.set(true);
        let began = Instant::now();
        let error = quiet.collect().await.unwrap_err();
        assert_eq!(error.reason, Reason::BodyTimeout);
        assert!(began.elapsed() >= Duration::from_millis(60), "by stalling");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn trailers_lose_what_they_may_not_say() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("x-countersign-app-id", HeaderValue::from_static("forged"));
        let body = body(
            vec![Some(data("abc")), Some(Frame::trailers(trailers))],
            None,
        );
        let collected = body.collect().await.unwrap();
        let left = collected.trailers().unwrap();
        assert_eq!(left.len(), 1);
        assert!(left.contains_key("grpc-status"));
    }
}
