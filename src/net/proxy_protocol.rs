//! The PROXY protocol, versions 1 and 2: a load balancer's header with the addresses of the connection that it
//! forwards.

use std::io;
use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

/// The reason why a connection has no usable header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the PROXY header did not arrive in time")]
    Timeout(#[source] tokio::time::error::Elapsed),
    #[error("the connection ended before its PROXY header")]
    Io(#[source] io::Error),
}

/// Reads the header that must come first, and not one byte more: TLS follows, and must not be buffered here.
///
/// `None` when the load balancer speaks for itself, as its health checks do. Call it only for peers that are trusted to
/// send a header, since its sender chooses the address.
pub async fn read_header<S>(
    stream: &mut S,
    deadline: Instant,
) -> Result<Option<SocketAddr>, HeaderError>
where
    S: AsyncRead + Unpin,
{
    let bytes = timeout_at(deadline, read_bytes(stream))
        .await
        .map_err(HeaderError::Timeout)??;
    let (header, length) = ProxyHeader::parse(&bytes, ParseConfig::default())
        .ok()
        .ok_or(HeaderError::Malformed)?;
    if length != bytes.len() {
        return Err(HeaderError::Malformed);
    }
    Ok(header.proxied_address().map(|address| address.source))
}

async fn read_bytes<S>(stream: &mut S) -> Result<Vec<u8>, HeaderError>
where
    S: AsyncRead + Unpin,
{
    // Both versions are longer than the signature of version 2, so reading that much never takes too much.
    let mut bytes = vec![0; SIGNATURE.len()];
    stream
        .read_exact(&mut bytes)
        .await
        .map_err(HeaderError::Io)?;
    if bytes == SIGNATURE {
        let mut rest = [0; 4];
        stream
            .read_exact(&mut rest)
            .await
            .map_err(HeaderError::Io)?;
        bytes.extend_from_slice(&rest);
        let [_, _, high, low] = rest;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > V2_LENGTH_MAX {
            return Err(HeaderError::Malformed);
        }
        let mut tail = vec![0; length];
        stream
            .read_exact(&mut tail)
            .await
            .map_err(HeaderError::Io)?;
        bytes.extend_from_slice(&tail);
        return Ok(bytes);
    }
    if !bytes.starts_with(b"PROXY ") {
        return Err(HeaderError::Malformed);
    }
    // Byte by byte, because the line's end is not known before it is seen; at most 95 of them.
    while !bytes.ends_with(b"\r\n") {
        if bytes.len() >= V1_LENGTH_MAX {
            return Err(HeaderError::Malformed);
        }
        bytes.push(stream.read_u8().await.map_err(HeaderError::Io)?);
    }
    // The library takes every word that begins like this for UNKNOWN.
    if let Some(rest) = bytes.strip_prefix(b"PROXY UNKNOWN")
        && rest != b"\r\n"
        && !rest.starts_with(b" ")
    {
        return Err(HeaderError::Malformed);
    }
    Ok(bytes)
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, by its specification.
const V1_LENGTH_MAX: usize = 107;
/// Addresses are 216 bytes at most; the rest is for TLVs, which no load balancer fills with more.
const V2_LENGTH_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;

    async fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, HeaderError>, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        theirs.write_all(bytes).await.unwrap();
        drop(theirs);
        let deadline = Instant::now() + Duration::from_secs(5);
        let result = read_header(&mut ours, deadline).await;
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).await.unwrap();
        (result, rest)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn version_1_names_the_source_and_leaves_what_follows() {
        let (address, rest) = read(b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\nhello").await;
        assert_eq!(address.unwrap(), Some("192.0.2.1:5000".parse().unwrap()));
        assert_eq!(rest, b"hello");
        let (address, rest) = read(b"PROXY UNKNOWN\r\nhello").await;
        assert_eq!(address.unwrap(), None);
        assert_eq!(rest, b"hello");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn version_2_names_the_source_and_leaves_what_follows() {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([
            0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0x88, 1, 187,
        ]);
        bytes.extend(b"hello");
        let (address, rest) = read(&bytes).await;
        assert_eq!(address.unwrap(), Some("192.0.2.1:5000".parse().unwrap()));
        assert_eq!(rest, b"hello");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_health_check_of_the_load_balancer_speaks_for_itself() {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0x20, 0, 0, 0]);
        assert_eq!(read(&bytes).await.0.unwrap(), None);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_no_header_is_refused() {
        let mut long = SIGNATURE.to_vec();
        long.extend([0x21, 0x11, 0xff, 0xff]);
        for bytes in [
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00"[..],
            b"PROXY TCP4 nonsense\r\n",
            b"PROXY UNKNOWNX 192.0.2.1\r\n",
            b"PROXY UNKNOWN\t\r\n",
            b"PROXY UNKNOWN\rx\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443",
            &[b"PROXY ".as_slice(), &[b'x'; 200], b"\r\n"].concat(),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            &long,
            b"",
        ] {
            assert!(read(bytes).await.0.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_silent_peer_is_not_waited_for() {
        let (mut ours, _theirs) = tokio::io::duplex(64);
        let deadline = Instant::now() + Duration::from_millis(20);
        let result = read_header(&mut ours, deadline).await;
        assert!(matches!(result, Err(HeaderError::Timeout(_))));
    }

    /// The result for bytes that are all there, and how many of them were taken.
    fn taken(bytes: &[u8]) -> (Result<Option<SocketAddr>, HeaderError>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let mut rest = bytes;
        let deadline = Duration::from_secs(5);
        let result =
            runtime.block_on(async { read_header(&mut rest, Instant::now() + deadline).await });
        (result, bytes.len() - rest.len())
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        let four = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
        let six = any::<([u8; 16], u16)>().prop_map(SocketAddr::from);
        prop_oneof![four, six]
    }

    /// A header of version 2 with these addresses and so many bytes of TLVs.
    fn version_2(source: SocketAddr, tlvs: usize) -> Vec<u8> {
        let (family, octets) = match source.ip() {
            std::net::IpAddr::V4(ip) => (0x11, ip.octets().to_vec()),
            std::net::IpAddr::V6(ip) => (0x21, ip.octets().to_vec()),
        };
        // One TLV without a meaning fills the rest.
        let value = tlvs.saturating_sub(3);
        let mut tail = [octets.as_slice(), &octets].concat();
        tail.extend(source.port().to_be_bytes());
        tail.extend([1, 187]);
        if tlvs >= 3 {
            tail.push(0x04);
            tail.extend(u16::try_from(value).unwrap().to_be_bytes());
            tail.extend(vec![0xff; value]);
        }
        let length = u16::try_from(tail.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[0x21, family], &length, &tail].concat()
    }

    proptest! {
        #[test]
        fn version_1_says_who_calls_and_takes_its_line_alone(
            source in address(),
            after in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (ip, port) = (source.ip(), source.port());
            let line = format!("PROXY {family} {ip} {ip} {port} 443\r\n");
            let (found, length) = taken(&[line.as_bytes(), &after].concat());
            prop_assert_eq!((found.unwrap(), length), (Some(source), line.len()));
        }

        #[test]
        fn version_2_says_who_calls_and_takes_its_header_alone(
            source in address(),
            tlvs in prop_oneof![0..64_usize, 1900..2000_usize],
            after in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let header = version_2(source, tlvs);
            let (found, length) = taken(&[header.as_slice(), &after].concat());
            prop_assert_eq!((found.unwrap(), length), (Some(source), header.len()));
        }

        /// A header that is cut anywhere is invalid, and is never taken for a shorter one.
        #[test]
        fn half_a_header_is_none(source in address(), cut in any::<prop::sample::Index>()) {
            let header = version_2(source, 20);
            let half = &header[..cut.index(header.len())];
            prop_assert!(taken(half).0.is_err());
        }

        #[test]
        fn no_bytes_make_it_panic_or_take_what_follows(
            start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE]),
            more in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [start, &more].concat();
            let (found, length) = taken(&bytes);
            if let Ok(address) = found {
                prop_assert!(length <= V2_LENGTH_MAX + 16);
                let (again, all) = taken(&bytes[..length]);
                prop_assert_eq!((again.unwrap(), all), (address, length));
            }
        }
    }
}
