//! hyper's builders with every bound that they leave open by default.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use hyper::client;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http2;
use hyper_util::rt::TokioTimer;

use super::turn::{self, InTurns};

/// The adapter between tokio's streams and hyper's.
pub use hyper_util::rt::TokioIo;

/// Runs what hyper spawns, which is a task for each stream, on the worker's own thread and in turns.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalExec;

impl<F> hyper::rt::Executor<F> for LocalExec
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(InTurns::new(future));
    }
}

/// tokio's timer, whose clock is asked once a turn: hyper wants to know the time of every frame.
#[derive(Clone, Debug, Default)]
struct TurnTimer(TokioTimer);

impl Timer for TurnTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.0.sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.0.sleep_until(deadline)
    }

    fn now(&self) -> Instant {
        turn::now().into()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        self.0.reset(sleep, new_deadline);
    }
}

/// What a client may make a server hold and wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerBounds {
    /// Bytes of a request's head, its first line included.
    pub header_bytes_max: u32,
    /// Header fields of an HTTP/1 request.
    pub headers_max: usize,
    /// HTTP/2 streams open at once on one connection.
    pub streams_max: u32,
    /// HTTP/2 streams that the client has reset before they were looked at; one more ends the connection.
    pub resets_max: u32,
    /// How often a quiet HTTP/2 connection is asked for a sign of life, and how long the answer may take.
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
}

impl Default for ServerBounds {
    fn default() -> Self {
        Self {
            header_bytes_max: 32 << 10,
            headers_max: 100,
            streams_max: 128,
            resets_max: 20,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

/// A server of HTTP/2.
///
/// Still the caller's to bound: the time to the preface and the first request, bodies that stall, and idleness.
pub fn http2_server<E: Clone>(executor: E, bounds: &ServerBounds) -> http2::Builder<E> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TurnTimer::default())
        .max_concurrent_streams(bounds.streams_max)
        .max_header_list_size(header_list_max(bounds))
        .max_pending_accept_reset_streams(usize::try_from(bounds.resets_max).unwrap_or(usize::MAX))
        .max_local_error_reset_streams(1024)
        .keep_alive_interval(bounds.ping_interval)
        .keep_alive_timeout(bounds.ping_timeout)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(256 << 10)
        // All bodies of a connection that nobody takes hold this much together.
        .initial_connection_window_size(1 << 20)
        .enable_connect_protocol();
    builder
}

/// HTTP/2 counts 32 bytes more for each field than it has.
fn header_list_max(bounds: &ServerBounds) -> u32 {
    let fields = u32::try_from(bounds.headers_max).unwrap_or(u32::MAX);
    bounds
        .header_bytes_max
        .saturating_add(fields.saturating_mul(32))
}

/// A client of HTTP/2 with prior knowledge, whose tasks stay on this thread.
pub fn http2_client() -> client::conn::http2::Builder<LocalExec> {
    let mut builder = client::conn::http2::Builder::new(LocalExec);
    builder
        .timer(TurnTimer::default())
        .max_header_list_size(64 << 10)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_send_buf_size(SEND_BUFFER);
    builder
}

/// What one HTTP/2 stream may hold that the other side does not take, and about one frame more: with 128 streams
/// that is 8 MiB a connection. What the socket takes at once does not stay here, so it does not bound the speed.
const SEND_BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http::Response;
    use http_body::Frame;
    use hyper::service::service_fn;
    use tokio::io::AsyncWriteExt;

    use super::*;

    const PIECE: usize = 8 << 10;

    /// A body without an end, which counts what was taken of it.
    struct Endless(Rc<Cell<usize>>);

    impl http_body::Body for Endless {
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

    #[tokio::test]
    async fn an_answer_that_is_not_taken_holds_little() {
        let taken = Rc::new(Cell::new(0));
        let body = Rc::clone(&taken);
        let served = async {
            let (near, mut far) = tokio::io::duplex(1 << 10);
            let service = service_fn(move |_| {
                let body = Endless(Rc::clone(&body));
                async { Ok::<_, Infallible>(Response::new(body)) }
            });
            let server = http2_server(LocalExec, &ServerBounds::default());
            tokio::task::spawn_local(server.serve_connection(TokioIo::new(near), service));
            // Windows of 16 MiB, GET https://localhost/, and not a byte is read.
            let mut asked = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            asked.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0]);
            asked.extend([0, 0, 4, 8, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
            asked.extend([0, 0, 14, 1, 5, 0, 0, 0, 1, 0x82, 0x87, 0x84, 0x41, 9]);
            asked.extend(b"localhost");
            far.write_all(&asked).await.unwrap();
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::task::LocalSet::new().run_until(served).await;
        let held = taken.get();
        assert!(held > 0 && held <= SEND_BUFFER + 4 * PIECE, "{held}");
    }
}
