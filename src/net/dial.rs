//! Outgoing connections: name resolution, Happy Eyeballs (RFC 8305), TCP connect, TLS handshake.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Sleep;

use super::resolve::HostPort;
use super::stream::Stream;
use super::tcp::TcpOptions;
use super::tls::{self, ClientConfig};

/// The failure to open a connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("the name does not resolve")]
    Resolve(#[source] io::Error),
    #[error("no address takes connections")]
    Connect(#[source] io::Error),
    #[error("connecting took too long")]
    Timeout(#[source] tokio::time::error::Elapsed),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
}

/// The host and port of outgoing connections.
#[derive(Debug)]
pub struct Destination {
    name: Arc<HostPort>,
    /// The name that the certificate must have, which is also sent as SNI.
    proves: String,
    tcp: TcpOptions,
    /// The index of the address at which the next connection begins, so that the addresses share the load.
    turn: Cell<usize>,
}

impl Destination {
    pub fn new(name: Arc<HostPort>) -> Self {
        Self {
            proves: name.host().to_owned(),
            name,
            tcp: TcpOptions::default(),
            turn: Cell::new(0),
        }
    }

    /// The same destination with `name` as SNI and required in the certificate; without a name, the host's name is
    /// used.
    #[must_use]
    pub fn proving(mut self, name: Option<&str>) -> Self {
        if let Some(name) = name {
            name.clone_into(&mut self.proves);
        }
        self
    }

    /// The same destination with these socket options.
    #[must_use]
    pub fn with(self, tcp: TcpOptions) -> Self {
        Self { tcp, ..self }
    }

    /// Opens a connection; `timeout` spans resolving, connecting and TLS.
    pub async fn open(
        &self,
        tls: Option<Arc<ClientConfig>>,
        timeout: Duration,
    ) -> Result<Stream, DialError> {
        tokio::time::timeout(timeout, self.open_without_limit(tls))
            .await
            .map_err(DialError::Timeout)?
    }

    async fn open_without_limit(
        &self,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Stream, DialError> {
        let addresses = self.resolve().await.map_err(DialError::Resolve)?;
        let stream = match race(&addresses, self.turn.get(), &self.tcp).await {
            Ok(stream) => stream,
            Err(error) => {
                // The name may resolve to other addresses by now.
                self.name.doubt();
                return Err(DialError::Connect(error));
            }
        };
        self.turn.set(self.turn.get().wrapping_add(1));
        let Some(config) = tls else {
            return Ok(Stream::Plain(stream));
        };
        match tls::connect(stream, config, &self.proves).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) if tls::is_refusal(&error) => Err(DialError::Tls(error)),
            Err(error) => Err(DialError::Connect(error)),
        }
    }

    async fn resolve(&self) -> io::Result<Arc<[SocketAddr]>> {
        match self.name.host().parse::<IpAddr>() {
            Ok(address) => Ok(Arc::new([SocketAddr::new(address, self.name.port())])),
            Err(_) => self.name.addresses().await,
        }
    }
}

type Attempt<'o> = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + 'o>>;

/// Connects to the first address that answers (RFC 8305): each gets a head start before the next is tried beside it.
async fn race(
    addresses: &[SocketAddr],
    turn: usize,
    options: &TcpOptions,
) -> io::Result<TcpStream> {
    let mut waiting = order(addresses, turn);
    let mut attempts: Vec<Attempt<'_>> = Vec::new();
    let mut head_start: Option<Pin<Box<Sleep>>> = None;
    let mut last_error = None;
    poll_fn(|cx| {
        loop {
            let mut place = 0;
            while let Some(attempt) = attempts.get_mut(place) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        last_error = Some(error);
                        head_start = None;
                        drop(attempts.swap_remove(place));
                    }
                    Poll::Pending => place += 1,
                }
            }
            if let Some(sleep) = &mut head_start
                && (waiting.is_empty() || sleep.as_mut().poll(cx).is_pending())
            {
                return Poll::Pending;
            }
            match waiting.pop_front() {
                Some(address) => {
                    attempts.push(Box::pin(connect(address, options)));
                    head_start = Some(Box::pin(tokio::time::sleep(HEAD_START)));
                }
                None if attempts.is_empty() => {
                    let none = || io::Error::new(io::ErrorKind::NotFound, "no address");
                    return Poll::Ready(Err(last_error.take().unwrap_or_else(none)));
                }
                None => return Poll::Pending,
            }
        }
    })
    .await
}

async fn connect(address: SocketAddr, options: &TcpOptions) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    options.set_on(&socket)?;
    socket.connect(address).await
}

/// The addresses in the order of attempts. Addresses of one family take turns; between two families, the resolver's
/// first choice stays first.
fn order(addresses: &[SocketAddr], turn: usize) -> VecDeque<SocketAddr> {
    let mut order: VecDeque<_> = addresses.iter().copied().collect();
    let v6 = order.iter().filter(|address| address.is_ipv6()).count();
    if let Some(steps) = turn.checked_rem(order.len())
        && (v6 == 0 || v6 == order.len())
    {
        order.rotate_left(steps);
    }
    order.truncate(ATTEMPTS_MAX);
    order
}

const HEAD_START: Duration = Duration::from_millis(250);
const ATTEMPTS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::resolve::Resolver;
    use socket2::SockRef;
    use tokio::net::TcpListener;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_favourite_among_two_families_stays_first() {
        let mixed = addresses(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(order(&mixed, 1), mixed);
    }

    #[test]
    fn addresses_of_one_family_share_the_load() {
        let all = addresses(&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]);
        assert_eq!(order(&all, 1).front(), all.get(1));
        assert_eq!(order(&all, 3).front(), all.first());
        assert!(order(&[], 1).is_empty());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_address_that_refuses_is_passed_over() {
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = dead.local_addr().unwrap();
        drop(dead);
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answering = alive.local_addr().unwrap();
        let options = TcpOptions::default();
        let stream = race(&[refusing, answering], 0, &options).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), answering);
        assert!(race(&[refusing], 0, &options).await.is_err());
        assert!(race(&[], 0, &options).await.is_err());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_name_leads_to_whoever_listens_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let destination = Destination::new(Resolver::default().name("localhost", port));
        let timeout = Duration::from_secs(5);
        let opened = destination.open(None, timeout).await.unwrap();
        assert!(matches!(&opened, Stream::Plain(stream) if stream.nodelay().unwrap()));
        let options = TcpOptions {
            nodelay: false,
            congestion: Some("reno".into()),
            ..TcpOptions::default()
        };
        let destination = destination.with(options);
        let Stream::Plain(stream) = destination.open(None, timeout).await.unwrap() else {
            panic!("nobody asked for TLS");
        };
        assert!(!stream.nodelay().unwrap());
        let congestion = SockRef::from(&stream).tcp_congestion().unwrap();
        assert!(congestion.starts_with(b"reno"));
        drop(listener);
        let refused = destination.open(None, timeout).await;
        assert!(matches!(refused, Err(DialError::Connect(_))));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_unknown_name_does_not_resolve() {
        let name = Resolver::default().name("does-not-exist.invalid", 80);
        let destination = Destination::new(name);
        let result = destination.open(None, Duration::from_secs(5)).await;
        assert!(matches!(
            result,
            Err(DialError::Resolve(_) | DialError::Timeout(_))
        ));
    }
}
