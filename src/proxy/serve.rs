//! HTTP on a connection, by the version that ALPN chose, with a watchdog beside it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use crate::net::http::{LocalExec, ServerBounds, TokioIo, http1_server, http2_server};

use super::body::ResponseBody;
use super::live::{Connection, Stage, Watch};
use super::metrics::Closed;
use super::settings::Timeouts;

/// Serves every request of `connection` by `answer`, until either side is done; says why it ended.
pub async fn http<S, A, F>(
    stream: S,
    connection: &Connection,
    bounds: &ServerBounds,
    timeouts: &Timeouts,
    answer: A,
) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + 'static,
    F: Future<Output = Response<ResponseBody>> + 'static,
{
    let service = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let io = TokioIo::new(stream);
    // hyper's server for both would take HTTP/1 on a connection that agreed on HTTP/2.
    if connection.peer.http2 {
        let served = http2_server(LocalExec, bounds).serve_connection(io, service);
        drive(served, connection, timeouts).await
    } else {
        let served = http1_server(bounds).serve_connection(io, service);
        drive(served.with_upgrades(), connection, timeouts).await
    }
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

async fn drive(served: impl Served, connection: &Connection, timeouts: &Timeouts) -> Closed {
    let mut served = pin!(served);
    let mut dog = pin!(sleep_until(Instant::now()));
    let mut stage = Stage::Open;
    loop {
        tokio::select! {
            biased;
            result = served.as_mut() => return end(stage, result),
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

fn end(stage: Stage, result: hyper::Result<()>) -> Closed {
    match (stage, result) {
        (Stage::Ending(why) | Stage::Cut(why), _) => why,
        (Stage::Open, Ok(())) => Closed::Finished,
        (Stage::Open, Err(error)) if error.is_timeout() => Closed::Idle,
        (Stage::Open, Err(error)) => {
            tracing::debug!(%error, "connection failed");
            Closed::Failed
        }
    }
}
