//! Listening sockets: bound once, and accepting until the end, even when the kernel is short of descriptors or memory.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::log_limit::LogLimit;
use super::tcp::TcpOptions;

/// Binds a listening TCP socket.
///
/// With `reuse_port` several sockets share one address and the kernel spreads the connections over them: one for each
/// worker. An IPv6 address takes IPv4 as well, and on a machine whose kernel has no IPv6, `::` is every IPv4 address.
/// Accepted sockets inherit the options, which saves system calls for each connection.
pub fn bind(
    address: SocketAddr,
    backlog: i32,
    reuse_port: bool,
    options: &TcpOptions,
) -> io::Result<std::net::TcpListener> {
    bind_by(
        address,
        |domain| Socket::new(domain, Type::STREAM, Some(Protocol::TCP)),
        backlog,
        reuse_port,
        options,
    )
}

fn bind_by(
    address: SocketAddr,
    open: impl Fn(Domain) -> io::Result<Socket>,
    backlog: i32,
    reuse_port: bool,
    options: &TcpOptions,
) -> io::Result<std::net::TcpListener> {
    let (socket, address) = match open(Domain::for_address(address)) {
        Err(error) if lacks_ipv6(&error) && is_every_address(address) => {
            let every = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            (open(Domain::IPV4)?, every)
        }
        opened => (opened?, address),
    };
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    options.set_on(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// True if the kernel has no IPv6 at all.
pub fn lacks_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn is_every_address(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// "Address family not supported by protocol", which has no name in the standard library.
const EAFNOSUPPORT: i32 = 97;

/// Waits for the next connection. It never returns an error: one that concerns a single connection is skipped, and when
/// descriptors or memory run out it waits a little, since trying again at once would only spin.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut pause = PAUSE_MIN;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                if let Some(suppressed) = NOT_ACCEPTED.permit() {
                    let pause_ms = pause.as_millis();
                    tracing::warn!(%error, pause_ms, suppressed, "cannot accept connections");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

static NOT_ACCEPTED: LogLimit = LogLimit::new();

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<std::net::TcpListener> {
        super::bind(address, 16, reuse_port, &TcpOptions::default())
    }

    #[test]
    fn two_workers_can_share_one_port() {
        let first = bind("127.0.0.1:0".parse().unwrap(), true).unwrap();
        let address = first.local_addr().unwrap();
        assert!(bind(address, true).is_ok());
        assert!(
            bind(address, false).is_err(),
            "one that does not share is refused"
        );
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_accepted_has_the_listeners_options() {
        let options = TcpOptions {
            congestion: Some("reno".into()),
            ..TcpOptions::default()
        };
        let listener = super::bind("127.0.0.1:0".parse().unwrap(), 16, false, &options).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (accepted, peer) = accept(&listener).await;
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(accepted.nodelay().unwrap());
        let congestion = SockRef::from(&accepted).tcp_congestion().unwrap();
        assert!(congestion.starts_with(b"reno\0") || congestion == b"reno");
    }

    #[test]
    fn every_address_is_every_ipv4_address_where_there_is_no_ipv6() {
        let open = |domain| match domain {
            Domain::IPV6 => Err(io::Error::from_raw_os_error(EAFNOSUPPORT)),
            other => Socket::new(other, Type::STREAM, Some(Protocol::TCP)),
        };
        let bind = |address: &str| {
            let address = address.parse().unwrap();
            bind_by(address, open, 16, false, &TcpOptions::default())
        };
        let bound = bind("[::]:0").unwrap().local_addr().unwrap();
        assert_eq!(bound.ip(), Ipv4Addr::UNSPECIFIED);
        assert!(bind("0.0.0.0:0").is_ok());
        // A named IPv6 address stands for itself alone.
        for named in ["[::1]:0", "[2001:db8::1]:0"] {
            assert!(lacks_ipv6(&bind(named).unwrap_err()), "{named}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_offer_keeps_the_socket_from_listening() {
        let options = TcpOptions {
            congestion: Some("no-such".into()),
            ..TcpOptions::default()
        };
        let refused = super::bind("127.0.0.1:0".parse().unwrap(), 16, false, &options);
        assert!(refused.unwrap_err().to_string().contains("no-such"));
    }
}
