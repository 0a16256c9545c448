//! HTTP/1.1 connections: head, exchange, answer, and again; without a task and without a channel.
//!
//! One poll drives everything on the connection: the exchange runs inside, and the request's body reads from the same
//! stream on demand. Between requests only the stream is held.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, Version};
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

use super::answer::{Filled, RequestFacts, Sending};
use super::body::Incoming;
use super::discarding::{Discarding, Rest};
use super::link::{Link, LinkBody};
use super::request_head::{HeadBounds, RequestHead, RequestParser};
use super::service::{Answers, BoxedAnswer};
use crate::domain::reason::Reason;
use crate::net::discard::Discard;
use crate::net::turn;
use crate::proxy::bodies::body::ResponseBody;
use crate::proxy::bodies::upgrade::{Upgrade, UpgradeSender};
use crate::proxy::codec::output::Output;
use crate::proxy::messages::message::Response;
use crate::proxy::report::closing::Closed;

/// Limits on one connection.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub head: HeadBounds,
    /// The time from a head's first byte to its last.
    pub head_time: Duration,
    pub discard: Discard,
}

/// An HTTP/1.1 connection; see the module. It resolves to the reason of its end.
pub struct Http1<S, A> {
    link: Rc<RefCell<Link<S>>>,
    output: Output,
    parser: RequestParser,
    answers: A,
    bounds: Bounds,
    state: State,
    /// True if it takes no more requests.
    finishing: bool,
    /// The reason of its end after the current answer, if it ends then.
    over: Closed,
    /// The rest of a request whose answer has begun, if it has no reader.
    rest: Option<Box<Discarding>>,
    /// Limits on the discarded rest.
    discard: Discard,
    /// True for a client that waits for `100 Continue` before its body, and gets its answer instead.
    unasked: bool,
}

enum State {
    /// Waits for a request. The time begins with the first byte of its head.
    Head(Option<Pin<Box<Sleep>>>),
    Exchange(BoxedAnswer, RequestFacts, Option<UpgradeSender>),
    /// Boxed: an idle connection should not be as large as one that answers.
    Answer(Box<Sending>, Option<UpgradeSender>),
    /// The answer has been sent, and the rest of its request is discarded. `true` if another request may follow.
    Discard(Box<Discarding>, bool),
    /// Closes in order, and reads on from a client that is still sending: a close on unread bytes resets the
    /// connection, and the answer may be lost.
    Closing(Closed, Lingering),
    Over,
}

#[derive(Debug)]
struct Lingering {
    /// `None` when the client has nothing left to send.
    rest: Option<Box<Discarding>>,
    said: bool,
}

impl<S, A> Http1<S, A>
where
    S: AsyncBufRead + AsyncWrite + Unpin + std::fmt::Debug + 'static,
    A: Answers,
{
    pub fn new(stream: S, answers: A, bounds: Bounds) -> Self {
        Self {
            link: Rc::new(RefCell::new(Link::new(stream))),
            output: Output::default(),
            parser: RequestParser::default(),
            answers,
            bounds,
            state: State::Head(None),
            finishing: false,
            over: Closed::Finished,
            rest: None,
            discard: bounds.discard,
            unasked: false,
        }
    }

    fn poll_on(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        loop {
            self.state = ready!(match &self.state {
                State::Head(_) => self.poll_head(cx),
                State::Exchange(..) => self.poll_exchange(cx),
                State::Answer(..) => self.poll_answer(cx),
                State::Discard(..) => self.poll_discard(cx),
                State::Closing(..) | State::Over => return self.poll_closing(cx),
            });
        }
    }

    /// Finishes the current exchange, and takes no new one. A poll has to follow.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<State> {
        let State::Head(timer) = &mut self.state else {
            return Poll::Pending;
        };
        let mut link = self.link.borrow_mut();
        loop {
            match self.parser.take(&mut link.input, self.bounds.head) {
                Ok(Some(head)) => {
                    self.answers.heading(false);
                    drop(link);
                    return Poll::Ready(self.begin(head));
                }
                Ok(None) => {}
                Err(reason) => {
                    drop(link);
                    return Poll::Ready(self.refuse(reason));
                }
            }
            match link.poll_fill(cx) {
                Poll::Ready(Ok(0)) => {
                    let why = if link.input.is_empty() {
                        Closed::Finished
                    } else {
                        Closed::Failed
                    };
                    return Poll::Ready(State::Closing(why, Lingering::none()));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(failed(&error)),
                // An idle connection only: a request that has come is answered.
                Poll::Pending if self.finishing && link.input.is_empty() => {
                    return Poll::Ready(State::Closing(Closed::Finished, Lingering::none()));
                }
                Poll::Pending if link.input.is_empty() => {
                    link.rest();
                    self.output.rest(0);
                    return Poll::Pending;
                }
                Poll::Pending => break,
            }
        }
        drop(link);
        let within = self.bounds.head_time;
        let timer = timer.get_or_insert_with(|| {
            self.answers.heading(true);
            Box::pin(sleep(within))
        });
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(self.refuse(Reason::RequestTimeout))
    }

    fn begin(&mut self, head: RequestHead) -> State {
        let RequestHead {
            request,
            coding,
            expects_continue,
            takes_trailers,
            keep_alive,
        } = head;
        let incoming = self.link.borrow_mut().begin(coding, expects_continue);
        let body = LinkBody {
            link: Rc::clone(&self.link),
            request: incoming,
        };
        let asked = RequestFacts {
            head_only: request.method == Method::HEAD,
            chunks: request.version == Version::HTTP_11,
            takes_trailers,
            keep_alive,
        };
        let (handover, upgrade) = if request.fields.contains(&http::header::UPGRADE) {
            let (handover, upgrade) = Upgrade::offered();
            (Some(handover), Some(upgrade))
        } else {
            (None, None)
        };
        let body = Incoming::Http1(Box::new(body));
        let answer = self.answers.answer(request, body, upgrade);
        State::Exchange(answer, asked, handover)
    }

    /// Answers malformed bytes, and nothing after them.
    fn refuse(&mut self, reason: Reason) -> State {
        self.answers.heading(false);
        self.link.borrow_mut().refuse();
        self.over = Closed::Failed;
        if reason == Reason::RequestTimeout {
            self.over = Closed::Stalled;
            self.discard = self.discard.briefly();
        }
        let response = self.answers.refuse(reason);
        let asked = RequestFacts {
            head_only: false,
            chunks: true,
            takes_trailers: false,
            keep_alive: false,
        };
        self.answer(response, asked, None)
    }

    fn answer(
        &mut self,
        response: Response<ResponseBody>,
        mut asked: RequestFacts,
        handover: Option<UpgradeSender>,
    ) -> State {
        // A body that still has a reader may be whole at the end of the answer.
        asked.keep_alive &= !self.finishing && !self.answers.is_ending();
        asked.keep_alive &= self.is_read() || self.has_reader();
        self.unasked = self.link.borrow_mut().answered();
        let date = self.answers.date();
        let answering = Sending::begin(response, asked, date, &mut self.output);
        State::Answer(Box::new(answering), handover)
    }

    /// True if all of the request has come, after a skip of the part that has no reader. A part that has a reader is
    /// left to it: otherwise it would take a truncated body for a whole one.
    fn is_read(&self) -> bool {
        let mut link = self.link.borrow_mut();
        link.is_whole() || (!self.has_reader() && link.skip())
    }

    fn has_reader(&self) -> bool {
        Rc::strong_count(&self.link) > 1
    }

    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<State> {
        let State::Exchange(exchange, asked, handover) = &mut self.state else {
            return Poll::Pending;
        };
        if let Poll::Ready(response) = exchange.as_mut().poll(cx) {
            let (asked, handover) = (*asked, handover.take());
            // The exchange ends here, and with it its hold on the request's body.
            self.state = State::Over;
            return Poll::Ready(self.answer(response, asked, handover));
        }
        let mut link = self.link.borrow_mut();
        if link.take_go_on() {
            self.output.make_ready();
            self.output.own.extend_from_slice(GO_ON);
        }
        if !self.output.is_empty()
            && let Poll::Ready(Err(error)) = link.poll_write(cx, &mut self.output)
        {
            return Poll::Ready(failed(&error));
        }
        poll_left(&mut link, cx).map(|()| State::Closing(Closed::Failed, Lingering::none()))
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<State> {
        let State::Answer(answering, handover) = &mut self.state else {
            return Poll::Pending;
        };
        loop {
            // The sender of the body may still read the request's.
            let filled = match answering.fill(cx, &mut self.output) {
                Ok(filled) => filled,
                // A client that has a part of an answer recognizes its end by the connection's close.
                Err(error) => {
                    tracing::debug!(%error, "an answer broke off");
                    return Poll::Ready(State::Closing(Closed::Failed, Lingering::cut()));
                }
            };
            let unread = Rc::strong_count(&self.link) == 1;
            let mut link = self.link.borrow_mut();
            if unread && link.is_coming() {
                // A client that takes nothing before it has sent everything would wait for us as we for it.
                let begin = || Box::new(Discarding::begin(&self.discard));
                let _over = self.rest.get_or_insert_with(begin).poll_body(cx, &mut link);
            }
            if let Err(error) = ready!(link.poll_write(cx, &mut self.output)) {
                return Poll::Ready(failed(&error));
            }
            match filled {
                Filled::Full => {}
                Filled::Whole => break,
                Filled::Dry => {
                    return poll_left(&mut link, cx)
                        .map(|()| State::Closing(Closed::Failed, Lingering::none()));
                }
            }
        }
        let (keep_alive, switched) = (answering.keep_alive, answering.switched);
        if switched {
            let stream = self.link.borrow_mut().take_stream();
            if let (Some(handover), Some(stream)) = (handover.take(), stream) {
                handover.hand_over(stream);
            }
            return Poll::Ready(State::Closing(Closed::Finished, Lingering::none()));
        }
        // The answer has gone, and its record with it.
        self.state = State::Over;
        Poll::Ready(self.settle(keep_alive))
    }

    fn settle(&mut self, keep_alive: bool) -> State {
        let rest = self.rest.take();
        if self.is_read() {
            return self.next(keep_alive, Lingering::none());
        }
        let begin = || Box::new(Discarding::begin(&self.discard));
        let rest = rest.unwrap_or_else(begin);
        self.answers.discarding(true);
        if self.link.borrow().is_coming() && !self.has_reader() && !self.unasked {
            State::Discard(rest, keep_alive)
        } else {
            self.end_after(Lingering::after(rest))
        }
    }

    /// The state after a request that was read and answered.
    fn next(&mut self, keep_alive: bool, lingering: Lingering) -> State {
        if keep_alive {
            State::Head(None)
        } else {
            self.end_after(lingering)
        }
    }

    fn end_after(&mut self, lingering: Lingering) -> State {
        self.link.borrow_mut().abandon();
        State::Closing(self.over, lingering)
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<State> {
        let State::Discard(rest, keep_alive) = &mut self.state else {
            return Poll::Pending;
        };
        let keep_alive = *keep_alive;
        let ended = ready!(rest.poll_body(cx, &mut self.link.borrow_mut()));
        let State::Discard(rest, _) = std::mem::replace(&mut self.state, State::Over) else {
            return Poll::Pending;
        };
        Poll::Ready(match ended {
            Rest::Whole => {
                self.answers.discarding(false);
                let keep_alive = keep_alive && !self.finishing && !self.answers.is_ending();
                self.next(keep_alive, Lingering::none())
            }
            Rest::Unknown => self.end_after(Lingering::after(rest)),
        })
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<Closed> {
        let State::Closing(why, lingering) = &mut self.state else {
            return Poll::Ready(Closed::Finished);
        };
        let mut link = self.link.borrow_mut();
        link.abandon();
        if !lingering.said {
            match (link.poll_shutdown(cx), &mut lingering.rest) {
                (Poll::Ready(Ok(())), _) => lingering.said = true,
                (Poll::Ready(Err(_)), _) => return Poll::Ready(*why),
                (Poll::Pending, Some(rest)) => return rest.poll_over(cx).map(|()| *why),
                (Poll::Pending, None) => return Poll::Pending,
            }
        }
        if let Some(rest) = &mut lingering.rest {
            ready!(rest.poll_end(cx, &mut link));
        }
        Poll::Ready(*why)
    }
}

impl<S, A> Future for Http1<S, A>
where
    S: AsyncBufRead + AsyncWrite + Unpin + std::fmt::Debug + 'static,
    A: Answers + Unpin,
{
    type Output = Closed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        turn::take(|| self.get_mut().poll_on(cx))
    }
}

impl Lingering {
    fn none() -> Self {
        Self {
            rest: None,
            said: false,
        }
    }

    /// An immediate end, without the orderly close that would make a truncated answer look whole.
    fn cut() -> Self {
        Self {
            said: true,
            ..Self::none()
        }
    }

    /// An orderly close that reads on from a client that is still sending.
    fn after(rest: Box<Discarding>) -> Self {
        Self {
            rest: Some(rest),
            said: false,
        }
    }
}

/// Ready when the client has left. It must not be polled while a body has a reader: one read side has one reader.
fn poll_left<S>(link: &mut Link<S>, cx: &mut Context<'_>) -> Poll<()>
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    if !link.is_whole() {
        link.watch(cx);
        return Poll::Pending;
    }
    // Input is the next request; so many bytes of it are kept until its turn.
    while link.input.len() < AHEAD_MAX {
        match ready!(link.poll_fill(cx)) {
            Ok(0) | Err(_) => return Poll::Ready(()),
            Ok(_) => {}
        }
    }
    Poll::Pending
}

fn failed(error: &io::Error) -> State {
    tracing::debug!(%error, "connection failed");
    State::Closing(Closed::Failed, Lingering::cut())
}

const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// The limit for pipelined requests in memory; the rest waits in the kernel.
const AHEAD_MAX: usize = 16 << 10;

impl<S: std::fmt::Debug, A> std::fmt::Debug for Http1<S, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http1")
            .field("link", &self.link)
            .field("finishing", &self.finishing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "http1_tests.rs"]
mod tests;
