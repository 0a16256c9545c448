//! Hand-over of new connections: the accepting worker keeps one, or gives it to a worker with clearly fewer.
//!
//! The kernel spreads connections over the workers' sockets by a hash of their addresses. Many light ones are spread
//! evenly by that; of eight heavy ones six may meet on one worker while another idles. So the accepting worker compares
//! the number of connections on each, and may hand the socket over before a byte of it was read. Nothing is moved
//! later.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus::IntGauge;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::net::log_limit::LogLimit;

use crate::proxy::report::metrics::{Metrics, Open};

/// Sockets that may wait for one worker. A worker that is this far behind gets no more.
const WAITING_MAX: usize = 256;

/// The share of a worker's connections by which another may have more before it hands over, which costs both a few
/// microseconds: up to this many connections are spread exactly, and of more each worker has its share within 7 %.
const TOLERANCE: i64 = 16;

/// The channels to all workers.
#[derive(Clone, Debug)]
pub struct Handover {
    workers: Arc<[Way]>,
}

#[derive(Debug)]
struct Way {
    /// Connections that the worker has, or is about to get. It is the metric too, so that both always agree.
    open: IntGauge,
    door: mpsc::Sender<Handed>,
}

/// A connection that another worker has accepted.
#[derive(Debug)]
pub struct Handed {
    stream: std::net::TcpStream,
    remote: SocketAddr,
    place: Open,
}

/// A connection on the worker that serves it.
#[derive(Debug)]
pub struct Arrival {
    pub stream: TcpStream,
    pub remote: SocketAddr,
    /// Its place in the count of its worker, until it is dropped.
    pub place: Open,
}

impl Handover {
    /// Channels between so many workers; returns the receiving end of each.
    pub fn between(workers: usize, metrics: &Metrics) -> (Self, Vec<mpsc::Receiver<Handed>>) {
        let (ways, doors): (Vec<_>, Vec<_>) = (0..workers)
            .map(|worker| {
                let (door, receiver) = mpsc::channel(WAITING_MAX);
                let open = metrics.of_worker(worker);
                (Way { open, door }, receiver)
            })
            .unzip();
        (
            Self {
                workers: ways.into(),
            },
            doors,
        )
    }

    /// Decides about a connection that worker `own` has accepted; returns it unless another worker has it now.
    pub fn settle(&self, own: usize, stream: TcpStream, remote: SocketAddr) -> Option<Arrival> {
        let taker = choose(own, self.workers.iter().map(|worker| worker.open.get()));
        if taker == own {
            return self.keep(own, stream, remote);
        }
        let way = self.workers.get(taker)?;
        let handed = Handed {
            stream: left(stream)?,
            remote,
            // Counted at once, for the next decision.
            place: Open::new(way.open.clone()),
        };
        match way.door.try_send(handed) {
            Ok(()) => None,
            // It is far behind, or drains already and takes nothing new.
            Err(
                mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back),
            ) => {
                let stream = joined(back.stream)?;
                self.keep(own, stream, remote)
            }
        }
    }

    /// Keeps the connection where it was accepted, even if another worker has fewer.
    pub fn keep(&self, own: usize, stream: TcpStream, remote: SocketAddr) -> Option<Arrival> {
        let place = Open::new(self.workers.get(own)?.open.clone());
        Some(Arrival {
            stream,
            remote,
            place,
        })
    }
}

impl Handed {
    /// Moves the connection to the runtime of the caller.
    pub fn arrive(self) -> Option<Arrival> {
        Some(Arrival {
            stream: joined(self.stream)?,
            remote: self.remote,
            place: self.place,
        })
    }
}

/// The worker for a connection accepted by `own`, by the number of open connections on each.
///
/// Two workers may decide at the same moment by the same numbers; then one has one too many, and the next connection
/// makes up for it.
fn choose(own: usize, open: impl Iterator<Item = i64> + Clone) -> usize {
    let has = open.clone().nth(own).unwrap_or(0);
    match open.enumerate().min_by_key(|(_, count)| *count) {
        Some((idlest, fewest)) if has > fewest + fewest / TOLERANCE => idlest,
        _ => own,
    }
}

/// Takes a socket off this worker's runtime.
fn left(stream: TcpStream) -> Option<std::net::TcpStream> {
    let taken = stream.into_std();
    taken.inspect_err(lost).ok()
}

/// Puts a socket on this worker's runtime.
fn joined(stream: std::net::TcpStream) -> Option<TcpStream> {
    let put = TcpStream::from_std(stream);
    put.inspect_err(lost).ok()
}

fn lost(error: &std::io::Error) {
    static LOST: LogLimit = LogLimit::new();
    if let Some(suppressed) = LOST.permit() {
        tracing::warn!(%error, suppressed, "a connection was lost between two workers");
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tokio::net::TcpListener;

    use super::*;
    use crate::proxy::settings::AppLabel;

    #[test]
    fn a_connection_goes_where_clearly_fewer_are() {
        for (own, open, expected) in [
            (0, &[0_i64, 0][..], 0),
            (1, &[0, 0], 1),
            (0, &[1, 0], 1),
            (0, &[0, 1], 0),
            (1, &[3, 4], 0),
            (1, &[4, 4], 1),
            (0, &[17, 16], 0),
            (0, &[18, 16], 1),
            (0, &[106, 100], 0),
            (0, &[107, 100], 1),
            (2, &[5, 4, 6, 4], 1),
            (0, &[7], 0),
            (9, &[7, 7], 9),
        ] {
            assert_eq!(
                choose(own, open.iter().copied()),
                expected,
                "{own} of {open:?}"
            );
        }
    }

    #[test]
    fn eight_that_all_come_to_one_worker_end_four_and_four() {
        let mut open = [0_i64, 0];
        for _ in 0..8 {
            open[choose(0, open.into_iter())] += 1;
        }
        assert_eq!(open, [4, 4]);
    }

    /// Two ends of a connection.
    async fn connection() -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (stream, remote) = accepted.unwrap();
        (client.unwrap(), stream, remote)
    }

    fn two() -> (Handover, Vec<mpsc::Receiver<Handed>>) {
        let metrics = Metrics::register(&Registry::new(), &AppLabel::Off).unwrap();
        Handover::between(2, &metrics)
    }

    fn open(handover: &Handover) -> Vec<i64> {
        let workers = handover.workers.iter();
        workers.map(|worker| worker.open.get()).collect()
    }

    #[tokio::test]
    async fn what_is_handed_over_arrives_and_is_counted_once() {
        let (handover, mut doors) = two();
        let (_one, stream, remote) = connection().await;
        let kept = handover.settle(0, stream, remote).unwrap();
        let (other, stream, remote) = connection().await;
        assert!(handover.settle(0, stream, remote).is_none());
        assert_eq!(open(&handover), [1, 1]);
        let arrived = doors[1].recv().await.unwrap().arrive().unwrap();
        assert_eq!(arrived.remote, other.local_addr().unwrap());
        assert_eq!(
            arrived.stream.peer_addr().unwrap(),
            other.local_addr().unwrap()
        );
        assert_eq!(open(&handover), [1, 1]);
        drop((kept, arrived));
        assert_eq!(open(&handover), [0, 0]);
    }

    #[tokio::test]
    async fn a_worker_that_takes_no_more_is_given_none() {
        let (handover, mut doors) = two();
        doors[1].close();
        let mut kept = Vec::new();
        for _ in 0..3 {
            let (client, stream, remote) = connection().await;
            kept.push((client, handover.settle(0, stream, remote).unwrap()));
        }
        assert_eq!(open(&handover), [3, 0]);
        drop(kept);
        assert_eq!(open(&handover), [0, 0]);
    }
}
