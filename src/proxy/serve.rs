//! HTTP on a connection, by the version that ALPN chose, with a watchdog beside it.

use std::future::Future;
use std::pin::{Pin, pin};

use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use crate::net::http::ServerBounds;

use super::connections::live::{Connection, Stage, Watch};
use super::downstream::http1::{Bounds, Http1};
use super::downstream::http2::Http2;
use super::downstream::request_head::HeadBounds;
use super::downstream::service::Answers;
use super::report::closing::Closed;
use super::settings::Timeouts;

/// Serves every request of `connection` by `answers`, until either side is done; returns the reason of its end.
///
/// Connections and exchanges are boxed: most connections are idle most of the time, and hold no more than they need
/// then; and a move copies a pointer.
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
        Box::pin(Http2::new(stream, answers, bounds))
    } else {
        let bounds = Bounds {
            head: HeadBounds {
                bytes_max: usize::try_from(bounds.header_bytes_max).unwrap_or(usize::MAX),
                fields_max: bounds.headers_max,
            },
            head_time: timeouts.header,
            discard: bounds.discard,
        };
        Box::pin(Http1::new(stream, answers, bounds))
    };
    drive(served, connection, timeouts)
}

/// Connections of both versions.
trait Served: Future<Output = Closed> {
    /// Serves on, and sends the client elsewhere as soon as it is served.
    fn leave(self: Pin<&mut Self>);

    /// Finishes running requests, and takes no new ones.
    fn finish(self: Pin<&mut Self>);
}

impl<S, A> Served for Http1<S, A>
where
    S: AsyncBufRead + AsyncWrite + Unpin + std::fmt::Debug + 'static,
    A: Answers + Unpin,
{
    /// Each answer has `Connection: close`, by [`Answers::is_ending`]. An idle connection waits for its next request,
    /// which may be on its way.
    fn leave(self: Pin<&mut Self>) {}

    fn finish(self: Pin<&mut Self>) {
        self.get_mut().finish();
    }
}

impl<S, A> Served for Http2<S, A>
where
    S: AsyncBufRead + AsyncWrite + Unpin + 'static,
    A: Answers + 'static,
{
    fn leave(self: Pin<&mut Self>) {
        self.get_mut().leave();
    }

    fn finish(self: Pin<&mut Self>) {
        self.get_mut().finish();
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
                Stage::Leaving if why == Closed::Finished => Closed::Drain,
                Stage::Open | Stage::Leaving => why,
            },
            changed = connection.stage_after(stage) => {
                stage = changed;
                match stage {
                    Stage::Cut(why) => return why,
                    Stage::Ending(_) => served.as_mut().finish(),
                    Stage::Leaving => served.as_mut().leave(),
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
