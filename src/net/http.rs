//! HTTP/2 builders of hyper, with every bound set that is open by default.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use h2::server;
use hyper::client;
use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

use super::discard::Discard;
use super::turn::{self, InTurns};

/// The adapter between tokio's streams and hyper's.
pub use hyper_util::rt::TokioIo;

/// An executor for hyper's tasks, one for each stream: on the worker's own thread, in turns.
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

/// A timer of tokio's that reads the clock once a turn: hyper needs the time for every frame.
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

/// Limits on the memory and time that a client can take from a server.
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
    /// The interval of HTTP/2 PINGs on a quiet connection, and the time limit for their acknowledgement.
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    /// Bytes of answers that one HTTP/2 connection holds because its client does not take them.
    pub unsent_max: usize,
    /// The time for which a client may take nothing of an answer.
    pub unread: Duration,
    /// Limits on the discarded rest of a request that has been answered.
    pub discard: Discard,
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
            unsent_max: 8 << 20,
            unread: Duration::from_mins(1),
            discard: Discard::default(),
        }
    }
}

/// An HTTP/2 server.
///
/// The caller still bounds the time to the preface and the first request, stalled bodies, idle time, and the silence of
/// a client ([`KeepAlive`](super::keep_alive::KeepAlive)).
pub fn http2_server(bounds: &ServerBounds) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(bounds.streams_max)
        .max_header_list_size(header_list_max(bounds))
        .max_pending_accept_reset_streams(usize::try_from(bounds.resets_max).unwrap_or(usize::MAX))
        .max_local_error_reset_streams(Some(1024))
        .max_send_buffer_size(SEND_BUFFER)
        .initial_window_size(256 << 10)
        // The limit for all unread bodies of a connection together.
        .initial_connection_window_size(1 << 20)
        .enable_connect_protocol();
    builder
}

/// The limit on a header list. HTTP/2 counts 32 bytes more for each field than it has.
fn header_list_max(bounds: &ServerBounds) -> u32 {
    let fields = u32::try_from(bounds.headers_max).unwrap_or(u32::MAX);
    list_max(bounds.header_bytes_max, fields)
}

fn list_max(bytes: u32, fields: u32) -> u32 {
    bytes.saturating_add(fields.saturating_mul(32))
}

/// An HTTP/2 client with prior knowledge, whose tasks stay on this thread. The arguments limit the bytes and fields of
/// an answer's head.
pub fn http2_client(
    header_bytes_max: u32,
    headers_max: u32,
) -> client::conn::http2::Builder<LocalExec> {
    let mut builder = client::conn::http2::Builder::new(LocalExec);
    builder
        .timer(TurnTimer::default())
        .max_header_list_size(list_max(header_bytes_max, headers_max))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_send_buf_size(SEND_BUFFER);
    builder
}

/// The send buffer of one HTTP/2 stream, which may be exceeded by about a frame. Bytes that the socket takes at once do
/// not stay here, so it does not bound the speed.
const SEND_BUFFER: usize = 64 << 10;
