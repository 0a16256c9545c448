//! The connections of a worker: from its own listening socket, and from other workers.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::net::listener;

use super::handover::{Arrival, Handed, Handover};

/// The source of one worker's connections.
#[derive(Debug)]
pub struct Inlet {
    pub worker: usize,
    pub listener: TcpListener,
    pub handover: Handover,
    pub handed: mpsc::Receiver<Handed>,
}

impl Inlet {
    /// Waits for the next connection of this worker. No connection is lost when the future is dropped.
    pub async fn next(&mut self) -> Arrival {
        loop {
            let arrival = tokio::select! {
                biased;
                Some(handed) = self.handed.recv() => handed.arrive(),
                (stream, remote) = listener::accept(&self.listener) => {
                    self.handover.settle(self.worker, stream, remote)
                }
            };
            if let Some(arrival) = arrival {
                return arrival;
            }
        }
    }

    /// Accepts no more, and serves the connections that were accepted already: by the kernel, which would reset them
    /// with the socket, or by another worker. All workers drain then, so no other has to take any.
    pub async fn close(mut self, mut serve: impl FnMut(Arrival)) {
        for (stream, remote) in waiting(self.listener) {
            if let Some(arrival) = self.handover.keep(self.worker, stream, remote) {
                serve(arrival);
            }
        }
        self.handed.close();
        while let Some(handed) = self.handed.recv().await {
            if let Some(arrival) = handed.arrive() {
                serve(arrival);
            }
        }
    }
}

/// The connections in the queue of the listening socket, which is closed. They come from the kernel and not from the
/// runtime, which may not know of the last ones.
fn waiting(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let accept = |listener: &std::net::TcpListener| {
        let (stream, remote) = listener.accept()?;
        stream.set_nonblocking(true)?;
        Ok::<_, io::Error>((TcpStream::from_std(stream)?, remote))
    };
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    std::iter::from_fn(|| accept(&listener).ok()).collect()
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::proxy::report::metrics::Metrics;
    use crate::proxy::settings::AppLabel;

    async fn inlets() -> (Inlet, Inlet) {
        let metrics = Metrics::register(&Registry::new(), &AppLabel::Off).unwrap();
        let (handover, doors) = Handover::between(2, &metrics);
        let mut inlets = Vec::new();
        for (worker, handed) in doors.into_iter().enumerate() {
            inlets.push(Inlet {
                worker,
                listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
                handover: handover.clone(),
                handed,
            });
        }
        (inlets.remove(0), inlets.remove(0))
    }

    async fn connect(inlet: &Inlet) -> TcpStream {
        let address = inlet.listener.local_addr().unwrap();
        TcpStream::connect(address).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_accepted_before_the_end_is_served_wherever_it_waits() {
        let (mut first, second) = inlets().await;
        let mut clients = vec![connect(&first).await];
        let kept = first.next().await;
        // The next one goes to the worker that has none, and one more waits in that worker's socket.
        clients.push(connect(&first).await);
        let (stream, remote) = listener::accept(&first.listener).await;
        assert!(first.handover.settle(0, stream, remote).is_none());
        clients.push(connect(&second).await);
        let mut served = vec![kept];
        second.close(|arrival| served.push(arrival)).await;
        assert_eq!(served.len(), 3);
        // A worker that is gone gets nothing, however few it has.
        clients.push(connect(&first).await);
        served.push(first.next().await);
        let sorted = |all: Vec<SocketAddr>| std::collections::BTreeSet::from_iter(all);
        let of = |stream: &TcpStream| stream.local_addr().unwrap();
        assert_eq!(
            sorted(served.iter().map(|arrival| arrival.remote).collect()),
            sorted(clients.iter().map(of).collect())
        );
    }
}
