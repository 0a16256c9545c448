//! HTTP on a connection, by the version that ALPN chose, with a watchdog beside it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, Instant, Sleep, sleep, sleep_until};

use crate::domain::reason::Reason;
use crate::net::heard::{Count, Heard};
use crate::net::http::{LocalExec, ServerBounds, TokioIo, http1_server, http2_server};
use crate::net::outbox::{self, Outbox};

use super::body::ResponseBody;
use super::live::{Connection, Stage, Watch};
use super::metrics::Closed;
use super::settings::Timeouts;

/// How a connection ended.
#[derive(Clone, Copy, Debug)]
pub struct Over {
    pub why: Closed,
    /// Why what came last never became a request, if something did.
    pub refused: Option<Reason>,
}

impl From<Closed> for Over {
    fn from(why: Closed) -> Self {
        Self { why, refused: None }
    }
}

/// Serves every request of `connection` by `answer`, until either side is done; says why it ended.
///
/// Connections and exchanges are boxed: most connections are idle most of the time, and hold no more than they need
/// then; and what hyper moves about is a pointer.
pub fn http<S, A, F>(
    stream: S,
    connection: &Connection,
    bounds: &ServerBounds,
    timeouts: &Timeouts,
    answer: A,
) -> impl Future<Output = Over>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + 'static,
    F: Future<Output = Response<ResponseBody>> + 'static,
{
    let service = service_fn(move |request| {
        let answered = Box::pin(answer(request));
        async move { Ok::<_, Infallible>(answered.await) }
    });
    // hyper's server for both would take HTTP/1 on a connection that agreed on HTTP/2.
    let (served, heads): (Pin<Box<dyn Served>>, _) = if connection.peer.http2 {
        let (io, outbox) = outbox::gather(stream);
        let served = http2_server(LocalExec, bounds).serve_connection(TokioIo::new(io), service);
        (Box::pin(Turns { served, outbox }), None)
    } else {
        let heard = Count::default();
        let io = TokioIo::new(Heard::new(stream, heard.clone()));
        let served = http1_server(bounds).serve_connection(io, service);
        let heads = Heads::new(heard, timeouts.header);
        (Box::pin(served.with_upgrades()), Some(heads))
    };
    drive(served, connection, timeouts, heads)
}

/// hyper's connections of both versions.
trait Served: Future<Output = hyper::Result<()>> {
    /// Finishes what runs, and takes nothing new.
    fn finish(self: Pin<&mut Self>);
}

impl<I, S> Served for http1::UpgradeableConnection<I, S>
where
    I: Read + Write + Unpin + Send + 'static,
    S: HttpService<Incoming, ResBody = ResponseBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Served for http2::Connection<I, S, LocalExec>
where
    I: Read + Write + Unpin + 'static,
    S: HttpService<Incoming, ResBody = ResponseBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// The heads of HTTP/1 requests that have begun and not ended. hyper's own timeout runs from the end of the request
/// before, so it cannot tell a client that thinks from one that dribbles.
struct Heads {
    heard: Count,
    within: Duration,
    /// What had been heard, and how many requests there were, when no head had begun.
    seen: u64,
    requests: u32,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Heads {
    fn new(heard: Count, within: Duration) -> Self {
        Self {
            heard,
            within,
            seen: 0,
            requests: 0,
            deadline: None,
        }
    }

    fn has_begun(&self) -> bool {
        self.deadline.is_some()
    }

    /// Ready when a head has taken too long. What comes while a request runs is that request's; a next head that
    /// came along with it counts from its next byte, and until then the connection is idle.
    fn poll_overdue(&mut self, cx: &mut Context<'_>, connection: &Connection) -> Poll<()> {
        let heard = self.heard.get();
        let (requests, running) = connection.requests();
        if running || requests != self.requests {
            (self.seen, self.requests) = (heard, requests);
            self.deadline = None;
        }
        if heard == self.seen {
            return Poll::Pending;
        }
        let within = self.within;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(within)));
        deadline.as_mut().poll(cx)
    }
}

pin_project_lite::pin_project! {
    /// HTTP/2 that sends in one go what all its streams had to say in one turn.
    struct Turns<C, S> {
        #[pin]
        served: C,
        outbox: Outbox<S>,
    }
}

impl<C: Served, S: AsyncWrite + Unpin> Future for Turns<C, S> {
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let turn = self.project();
        let polled = turn.served.poll(cx);
        if polled.is_pending() {
            // What does not fit now wakes this task when it does.
            let _sent = turn.outbox.poll_send(cx);
        }
        polled
    }
}

impl<C: Served, S: AsyncWrite + Unpin> Served for Turns<C, S> {
    fn finish(self: Pin<&mut Self>) {
        self.project().served.finish();
    }
}

async fn drive(
    mut served: Pin<Box<dyn Served>>,
    connection: &Connection,
    timeouts: &Timeouts,
    mut heads: Option<Heads>,
) -> Over {
    let mut dog = pin!(sleep_until(Instant::now()));
    let mut stage = Stage::Open;
    loop {
        let overdue = std::future::poll_fn(|cx| match &mut heads {
            Some(heads) => heads.poll_overdue(cx, connection),
            None => Poll::Pending,
        });
        tokio::select! {
            biased;
            result = served.as_mut() => return end(stage, result),
            changed = connection.stage_after(stage) => {
                stage = changed;
                match stage {
                    Stage::Cut(why) => return why.into(),
                    Stage::Ending(_) => served.as_mut().finish(),
                    Stage::Open => {}
                }
                dog.as_mut().reset(Instant::now());
            }
            () = overdue => {
                return Over {
                    why: Closed::Stalled,
                    refused: Some(Reason::RequestTimeout),
                };
            }
            () = dog.as_mut() => match connection.watch(Instant::now(), timeouts) {
                Watch::LookAgain(at) => dog.as_mut().reset(at),
                // Not idle: the head's own time is running.
                Watch::End(Closed::Idle) if heads.as_ref().is_some_and(Heads::has_begun) => {
                    dog.as_mut().reset(Instant::now() + timeouts.header);
                }
                Watch::End(why) => _ = connection.end(why),
                Watch::Cut(why) => connection.cut(why),
            },
        }
    }
}

fn end(stage: Stage, result: hyper::Result<()>) -> Over {
    match (stage, result) {
        (Stage::Ending(why) | Stage::Cut(why), _) => why.into(),
        (Stage::Open, Ok(())) => Closed::Finished.into(),
        (Stage::Open, Err(error)) if error.is_timeout() => Closed::Idle.into(),
        (Stage::Open, Err(error)) => {
            tracing::debug!(%error, "connection failed");
            Over {
                why: Closed::Failed,
                refused: unread(&error),
            }
        }
    }
}

/// Why hyper could not make a request of what came; it has answered by itself, without saying why.
fn unread(error: &hyper::Error) -> Option<Reason> {
    if error.is_parse_too_large() {
        Some(Reason::HeadersTooLarge)
    } else {
        error.is_parse().then_some(Reason::RequestMalformed)
    }
}
