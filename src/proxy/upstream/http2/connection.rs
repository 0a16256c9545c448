//! A connection to an upstream over HTTP/2, which exchanges share.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;

use super::sending::SentBody;
use crate::domain::cause::Cause;
use crate::domain::reason::Reason;
use crate::domain::upstream::AnswerBounds;
use crate::net::http::{LocalExec, TokioIo, http2_client};
use crate::net::stream::Stream;
use crate::proxy::messages::error::Error;

/// A connection that exchanges share.
pub struct Http2 {
    pub(super) sender: SendRequest<SentBody>,
    pub(super) tls: bool,
    /// Streams that the upstream allows at once.
    allowed: Rc<Cell<usize>>,
    in_flight: Cell<usize>,
    quiet_since: Cell<Instant>,
    /// True once an exchange has found the connection dead, perhaps before its own task did.
    pub(super) dead: Cell<bool>,
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
    /// Opens an HTTP/2 connection on a new stream. Its task ends when the last user is gone.
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

    /// True if another exchange fits, by our limit and the upstream's.
    pub fn has_room(&self) -> bool {
        let bound = self.allowed.get().min(STREAMS_MAX);
        self.in_flight.get() < bound.max(1)
    }

    pub fn is_closed(&self) -> bool {
        self.dead.get() || self.sender.is_closed()
    }

    /// The time without a running exchange; `None` during one.
    pub fn quiet_for(&self, now: Instant) -> Option<Duration> {
        (self.in_flight.get() == 0).then(|| now - self.quiet_since.get())
    }
}

fn unreachable(cause: Cause) -> Error {
    Error::upstream(Reason::UpstreamUnreachable).by(cause)
}

/// Runs the connection, and follows the upstream's limit on streams.
async fn drive(
    mut connection: hyper::client::conn::http2::Connection<TokioIo<Stream>, SentBody, LocalExec>,
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

/// The limit on exchanges that share one connection; h2's own default of what a server should allow.
pub const STREAMS_MAX: usize = 100;
