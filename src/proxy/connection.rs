//! The outer walk, once for each connection: accept → handshake → requests until either side is done.

use std::rc::Rc;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::domain::identity::Evidence;
use crate::domain::reason::Reason;
use crate::net::tls::ServerStream;

use super::handover::Arrival;
use super::live::Connection;
use super::metrics::Shaken;
use super::worker::Worker;
use super::{accept, exchange, handshake, identify, serve};

/// Serves one connection from its first packet to its last.
pub async fn serve(worker: Rc<Worker>, arrival: Arrival) {
    let remote = arrival.remote;
    // Boxed: what a handshake needs is given back when it is over.
    let (stream, connection) = match Box::pin(open(&worker, arrival)).await {
        Ok(opened) => opened,
        Err(reason) => {
            tracing::debug!(%remote, %reason, "connection refused");
            return worker.metrics.all.handshake_failed(reason);
        }
    };
    let answer = {
        let (worker, connection) = (Rc::clone(&worker), Rc::clone(&connection));
        move |request| exchange::run(Rc::clone(&worker), Rc::clone(&connection), request)
    };
    let timeouts = &worker.settings.timeouts;
    let over = serve::http(stream, &connection, &worker.server, timeouts, answer).await;
    if let Some(reason) = over.refused {
        worker.metrics.all.refused(reason);
    }
    worker.metrics.all.connection_closed(over.why);
}

/// One deadline spans the PROXY header and the handshake, the next one the first request's head.
async fn open(
    worker: &Worker,
    arrival: Arrival,
) -> Result<(ServerStream<TcpStream>, Rc<Connection>), Reason> {
    let began = Instant::now();
    let (mut stream, remote) = (arrival.stream, arrival.remote);
    let timeouts = &worker.settings.timeouts;
    let deadline = began + timeouts.handshake;
    let mut seat = worker.seats.take(arrival.place)?;
    let origin = accept::admit(&mut seat, &mut stream, remote, &worker.settings, deadline).await?;
    let policies = worker.tls.load_full();
    let proved = handshake::prove(stream, origin, &policies, deadline).await?;

    let now = worker.clock.now();
    let certificate = identify::certificate(&worker.snapshot.load(), &proved.peer, now);
    let metrics = &worker.metrics.all;
    metrics
        .handshake_duration
        .observe(began.elapsed().as_secs_f64());
    metrics.handshake_finished(Shaken {
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
