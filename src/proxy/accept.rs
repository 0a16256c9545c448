//! Which connections are let in: so many in all, so many from one address, and whose address it is.

use std::net::SocketAddr;

use tokio::io::AsyncRead;
use tokio::time::Instant;

use crate::domain::reason::Reason;
use crate::net::proxy_protocol;

use super::peer::{Origin, within};
use super::seats::Seat;
use super::settings::Settings;

/// Finds out where a connection comes from, and counts it for that address.
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

/// From a trusted load balancer's PROXY header, or from the socket.
async fn origin<S: AsyncRead + Unpin>(
    stream: &mut S,
    remote: SocketAddr,
    settings: &Settings,
    deadline: Instant,
) -> Result<Origin, Reason> {
    let mut address = remote.ip().to_canonical();
    if within(&settings.proxy_protocol_from, address) {
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
    use super::*;

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
