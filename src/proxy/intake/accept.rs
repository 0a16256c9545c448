//! Admission of connections: limits in total and for each address, and the address of the client.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, Interest, Ready};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::domain::reason::Reason;
use crate::net::proxy_protocol;

use super::handshake_failure::NotOpened;
use crate::proxy::connections::peer::{Origin, within};
use crate::proxy::connections::seats::Seat;
use crate::proxy::settings::Settings;

/// Waits until the client's first byte has come, and checks that the client is still there.
///
/// A client that sent a byte and left gets no handshake: the signature that it would cost is most of what a handshake
/// costs, and a flood of such clients would have all others wait for it.
pub async fn first_byte(stream: &TcpStream, deadline: Instant) -> Result<(), NotOpened> {
    let mut first = [0];
    match timeout_at(deadline, stream.peek(&mut first)).await {
        Err(_late) => return Err(Reason::HandshakeTimeout.into()),
        Ok(Ok(0) | Err(_)) => return Err(NotOpened::Probe),
        Ok(Ok(_)) => {}
    }
    // A client of another protocol may get its answer on a connection that it has half closed.
    if first == [TLS_HANDSHAKE] && has_left(stream).await {
        return Err(Reason::HandshakeUnfinished.into());
    }
    Ok(())
}

/// The type of a TLS client's first record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// True if the kernel has reported that the client closed its side. It costs no system call: the last report is known
/// already.
async fn has_left(stream: &TcpStream) -> bool {
    let ready = stream.ready(Interest::READABLE).await;
    ready.is_ok_and(Ready::is_read_closed)
}

/// Determines the origin of a connection, and counts it for that address.
pub async fn admit<S: AsyncRead + Unpin>(
    seat: &mut Seat,
    stream: &mut S,
    remote: SocketAddr,
    settings: &Settings,
    deadline: Instant,
) -> Result<Origin, Reason> {
    let origin = origin(stream, remote, settings, deadline).await?;
    seat.assign(origin.address)?;
    Ok(origin)
}

/// True if a connection begins with a PROXY header.
pub fn is_announced(remote: SocketAddr, settings: &Settings) -> bool {
    within(&settings.proxy_protocol_from, remote.ip())
}

/// The origin from a trusted load balancer's PROXY header, or from the socket.
async fn origin<S: AsyncRead + Unpin>(
    stream: &mut S,
    remote: SocketAddr,
    settings: &Settings,
    deadline: Instant,
) -> Result<Origin, Reason> {
    let mut address = remote.ip().to_canonical();
    if is_announced(remote, settings) {
        match proxy_protocol::read_header(stream, deadline).await {
            Ok(Some(client)) => address = client.ip().to_canonical(),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%remote, %error, "no PROXY header");
                return Err(Reason::ProxyHeaderInvalid);
            }
        }
    }
    Ok(Origin {
        address,
        trusted_hop: within(&settings.trusted_hops, address),
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn judged(bytes: &[u8], leaves: bool) -> Result<(), Option<Reason>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.write_all(bytes).await.unwrap();
        if leaves {
            client.shutdown().await.unwrap();
        }
        let (stream, _) = listener.accept().await.unwrap();
        if leaves {
            // The kernel's report arrives with the runtime's next look at it.
            while !has_left(&stream).await {
                tokio::task::yield_now().await;
            }
        }
        let deadline = Instant::now() + std::time::Duration::from_secs(5);
        first_byte(&stream, deadline)
            .await
            .map_err(|error| match error {
                NotOpened::Probe => None,
                NotOpened::Refused(failure) => Some(failure.reason),
            })
    }

    #[tokio::test]
    async fn a_client_that_has_left_is_not_shaken_hands_with() {
        let hello = b"\x16\x03\x01";
        assert_eq!(judged(hello, false).await, Ok(()));
        let unfinished = Some(Reason::HandshakeUnfinished);
        assert_eq!(judged(hello, true).await, Err(unfinished));
        assert_eq!(judged(b"", true).await, Err(None), "a probe");
        // Half closed, and waiting for an answer in HTTP.
        assert_eq!(judged(b"GET / HTTP/1.0\r\n\r\n", true).await, Ok(()));
    }

    #[tokio::test]
    async fn only_trusted_load_balancers_speak_for_others() {
        let settings = Settings {
            proxy_protocol_from: vec!["10.0.0.0/8".parse().unwrap()],
            ..Settings::default()
        };
        let deadline = Instant::now() + std::time::Duration::from_secs(5);
        let header = b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 443\r\n";
        let from = async |remote: &str, bytes: &[u8]| {
            let mut bytes = bytes;
            origin(&mut bytes, remote.parse().unwrap(), &settings, deadline)
                .await
                .map(|origin| origin.address.to_string())
        };
        assert_eq!(
            from("10.0.0.9:1", header).await,
            Ok("203.0.113.7".to_owned())
        );
        assert_eq!(
            from("192.0.2.1:1", header).await,
            Ok("192.0.2.1".to_owned())
        );
        assert_eq!(
            from(
                "10.0.0.9:1",
                b"\x16\x03\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
            )
            .await,
            Err(Reason::ProxyHeaderInvalid)
        );
    }
}
