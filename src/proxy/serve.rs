//! HTTP on a connection, by the version that ALPN chose, with a watchdog beside it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use hyper::body::Incoming as Http2Body;
use hyper::rt::{Read, Write};
use hyper::server::conn::http2;
use hyper::service::{HttpService, service_fn};
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use crate::net::http::{LocalExec, ServerBounds, TokioIo, http2_server};
use crate::net::outbox::{self, Outbox};
use crate::net::turn;

use super::body::ResponseBody;
use super::downstream::body::Incoming;
use super::downstream::http1::{Answers, Bounds, Http1};
use super::downstream::request_head::HeadBounds;
use super::live::{Connection, Stage, Watch};
use super::metrics::Closed;
use super::settings::Timeouts;
use super::upgrade::Upgrade;

/// Serves every request of `connection` by `answers`, until either side is done; says why it ended.
///
/// Connections and exchanges are boxed: most connections are idle most of the time, and hold no more than they need
/// then; and what is moved about is a pointer.
pub fn http<S, A>(
    stream: S,
    connection: &Connection,
    bounds: &ServerBounds,
    timeouts: &Timeouts,
    answers: A,
) -> impl Future<Output = Closed>
where
    S: AsyncBufRead + AsyncWrite + Unpin + std::fmt::Debug + 'static,
    A: Answers + Unpin + 'static,
{
    // A server for both would take HTTP/1 on a connection that agreed on HTTP/2.
    let served: Pin<Box<dyn Served>> = if connection.peer.http2 {
        let service = service_fn(move |request: http::Request<Http2Body>| {
            let (mut parts, body) = request.into_parts();
            let upgrade = parts.extensions.remove().map(Upgrade::Http2);
            let answer = answers.answer(Box::new(parts.into()), Incoming::Http2(body), upgrade);
            async move { Ok::<_, Infallible>(http::Response::from(answer.await)) }
        });
        let (io, outbox) = outbox::gather(stream);
        let served = http2_server(LocalExec, bounds).serve_connection(TokioIo::new(io), service);
        Box::pin(Turns { served, outbox })
    } else {
        let bounds = Bounds {
            head: HeadBounds {
                bytes_max: usize::try_from(bounds.header_bytes_max).unwrap_or(usize::MAX),
                fields_max: bounds.headers_max,
            },
            head_time: timeouts.header,
        };
        Box::pin(Http1::new(stream, answers, bounds))
    };
    drive(served, connection, timeouts)
}

/// Connections of both versions.
trait Served: Future<Output = Closed> {
    /// Finishes what runs, and takes nothing new.
    fn finish(self: Pin<&mut Self>);
}

impl<S, A> Served for Http1<S, A>
where
    S: AsyncBufRead + AsyncWrite + Unpin + std::fmt::Debug + 'static,
    A: Answers + Unpin,
{
    fn finish(self: Pin<&mut Self>) {
        self.get_mut().finish();
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

impl<C, S> Future for Turns<C, S>
where
    C: Future<Output = hyper::Result<()>>,
    S: AsyncWrite + Unpin,
{
    type Output = Closed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Closed> {
        let this = self.project();
        let polled = turn::take(|| this.served.poll(cx));
        if polled.is_pending() {
            // What does not fit now wakes this task when it does.
            let _sent = this.outbox.poll_send(cx);
        }
        Poll::Ready(match ready!(polled) {
            Ok(()) => Closed::Finished,
            Err(error) if error.is_timeout() => Closed::Idle,
            Err(error) => {
                tracing::debug!(%error, "connection failed");
                Closed::Failed
            }
        })
    }
}

impl<I, S, W> Served for Turns<http2::Connection<I, S, LocalExec>, W>
where
    I: Read + Write + Unpin + 'static,
    S: HttpService<Http2Body, ResBody = ResponseBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: 'static,
    W: AsyncWrite + Unpin,
{
    fn finish(self: Pin<&mut Self>) {
        self.project().served.graceful_shutdown();
    }
}

async fn drive(
    mut served: Pin<Box<dyn Served>>,
    connection: &Connection,
    timeouts: &Timeouts,
) -> Closed {
    let mut dog = pin!(sleep_until(connection.first_look(Instant::now(), timeouts)));
    let mut stage = Stage::Open;
    loop {
        tokio::select! {
            biased;
            why = served.as_mut() => return match stage {
                Stage::Ending(why) | Stage::Cut(why) => why,
                Stage::Open => why,
            },
            changed = connection.stage_after(stage) => {
                stage = changed;
                match stage {
                    Stage::Cut(why) => return why,
                    Stage::Ending(_) => served.as_mut().finish(),
                    Stage::Open => {}
                }
                dog.as_mut().reset(Instant::now());
            }
            () = dog.as_mut() => match connection.watch(Instant::now(), timeouts) {
                Watch::LookAgain(at) => dog.as_mut().reset(at),
                Watch::End(why) => _ = connection.end(why),
                Watch::Cut(why) => connection.cut(why),
            },
        }
    }
}
