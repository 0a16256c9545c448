//! The outer walk, once for each connection: accept → handshake → requests until either side is done.

use std::fmt::Display;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::domain::identity::Evidence;
use crate::domain::reason::Reason;
use crate::net::log_limit::LogLimit;
use crate::net::tls::ServerStream;
use crate::net::turn;

use super::exchange;
use crate::proxy::bodies::body::ResponseBody;
use crate::proxy::bodies::upgrade::Upgrade;
use crate::proxy::connections::live::Connection;
use crate::proxy::downstream::body::Incoming;
use crate::proxy::downstream::date::DateText;
use crate::proxy::downstream::service::{Answers, BoxedAnswer};
use crate::proxy::intake::accept;
use crate::proxy::intake::handover::Arrival;
use crate::proxy::intake::handshake;
use crate::proxy::intake::handshake_failure::NotOpened;
use crate::proxy::messages::message::{Request, Response};
use crate::proxy::report::metrics::HandshakeOutcome;
use crate::proxy::serve;
use crate::proxy::worker::Worker;

/// Serves one connection from its first packet to its last.
pub async fn serve(worker: Rc<Worker>, arrival: Arrival) {
    let mut address = arrival.remote.ip().to_canonical();
    // Boxed: the memory of a handshake is freed when it is over.
    let (stream, connection) = match Box::pin(open(&worker, arrival, &mut address)).await {
        Ok(opened) => opened,
        Err(NotOpened::Probe) => return worker.metrics.all.probed(),
        Err(NotOpened::Refused(failure)) => {
            failure.log(address);
            return worker.metrics.all.handshake_failed(failure.reason);
        }
    };
    let walk = Walk {
        worker: Rc::clone(&worker),
        connection: Rc::clone(&connection),
    };
    let timeouts = &worker.settings.timeouts;
    let why = serve::http(stream, &connection, &worker.server, timeouts, walk).await;
    worker.metrics.all.connection_closed(why);
}

/// The handler of a connection's requests: the inner walk.
struct Walk {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
}

impl Answers for Walk {
    fn answer(
        &self,
        request: Box<Request>,
        body: Incoming,
        upgrade: Option<Upgrade>,
    ) -> BoxedAnswer {
        let (worker, connection) = (Rc::clone(&self.worker), Rc::clone(&self.connection));
        Box::pin(exchange::run(worker, connection, request, body, upgrade))
    }

    fn refuse(&self, reason: Reason) -> Response<ResponseBody> {
        exchange::refuse_unread(&self.worker, &self.connection, reason)
    }

    fn rules_broken(&self, error: &dyn Display) {
        static LINES: LogLimit = LogLimit::new();
        if let Some(suppressed) = LINES.permit() {
            let address = self.connection.peer.origin.address;
            tracing::warn!(%address, %error, suppressed, "a client broke the rules of HTTP/2");
        }
    }

    fn is_ending(&self) -> bool {
        self.connection.is_ending()
    }

    fn heading(&self, begun: bool) {
        self.connection.heading(begun);
    }

    fn discarding(&self, begun: bool) {
        self.connection.discarding(begun);
    }

    fn date(&self) -> DateText {
        self.worker.dates.at(turn::now(), &*self.worker.clock)
    }
}

/// Opens a connection; `address` becomes the client's when a PROXY header names it.
///
/// One deadline spans the PROXY header and the handshake, the next one the first request's head.
async fn open(
    worker: &Worker,
    arrival: Arrival,
    address: &mut IpAddr,
) -> Result<(ServerStream<TcpStream>, Rc<Connection>), NotOpened> {
    let began = Instant::now();
    let (mut stream, remote) = (arrival.stream, arrival.remote);
    let timeouts = &worker.settings.timeouts;
    let deadline = began + timeouts.handshake;
    let mut seat = worker.seats.take(arrival.place)?;
    // A load balancer names its client first, and may leave without a byte. Any other client is counted for its address
    // before the wait for it.
    if accept::is_announced(remote, &worker.settings) {
        accept::first_byte(&stream, deadline).await?;
    }
    let origin = accept::admit(&mut seat, &mut stream, remote, &worker.settings, deadline).await?;
    *address = origin.address;
    accept::first_byte(&stream, deadline).await?;
    // Read once the name is known, and not before: a client may take its time to the first byte.
    let pick = |sni: Option<&str>| {
        let snapshot = worker.snapshot.load();
        worker.generations.load().pick(&snapshot.catalog, sni)
    };
    let proved = handshake::prove(stream, origin, pick, &worker.leaves, deadline).await?;

    let now = worker.clock.now();
    let certificate = worker
        .snapshot
        .load()
        .evidence(proved.peer.certificate(), now);
    let metrics = &worker.metrics.all;
    metrics
        .handshake_duration
        .observe(began.elapsed().as_secs_f64());
    metrics.handshake_finished(HandshakeOutcome {
        tls_version: proved.peer.tls_version,
        resumed: proved.resumed,
        quarantined: match certificate {
            Evidence::Refused(reason) => Some(reason),
            Evidence::Absent | Evidence::Proved(_) => None,
        },
    });
    let open = metrics.connection(proved.peer.http2);
    let first_request_by = Instant::now() + timeouts.first_request;
    let connection = worker.live.open(proved.peer, seat, open, first_request_by);
    Ok((proved.stream, connection))
}
