//! The PROXY header: not one byte more is read than it has, and the address is the one that it says.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::net::proxy_protocol::{HeaderError, read_header};

thread_local! {
    /// The reader wants a clock, which belongs to a runtime.
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().enable_time().build().unwrap());
}

/// Reads `bytes` as a header and whatever follows it; true when there is one.
pub fn check(bytes: &[u8]) -> bool {
    let (read, left) = read(bytes);
    let Ok(source) = read else {
        return false;
    };
    let header = &bytes[..bytes.len() - left];
    assert!(bytes.len() > left);
    let (again, nothing) = self::read(header);
    assert_eq!(
        (again.unwrap(), nothing),
        (source, 0),
        "what follows matters"
    );
    let shorter = &header[..header.len() - 1];
    assert!(self::read(shorter).0.is_err(), "it ends before its end");
    let said = if header.starts_with(b"PROXY ") {
        version_1(header)
    } else {
        version_2(header)
    };
    assert_eq!(source, said, "another address");
    true
}

/// The result, and how many bytes were not taken.
fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, HeaderError>, usize) {
    RUNTIME.with_borrow(|runtime| {
        runtime.block_on(async {
            let mut stream = bytes;
            let deadline = Instant::now() + Duration::from_mins(1);
            let read = read_header(&mut stream, deadline).await;
            (read, stream.len())
        })
    })
}

fn version_1(header: &[u8]) -> Option<SocketAddr> {
    assert!(header.ends_with(b"\r\n") && header.len() <= 107);
    // What stands behind UNKNOWN may be anything, and is not looked at.
    let line = String::from_utf8_lossy(header);
    let line = line.trim_end();
    let words: Vec<_> = line.split(' ').collect();
    if words[1] == "UNKNOWN" {
        return None;
    }
    let [_, family, source, _, port, _] = words[..] else {
        panic!("{line:?} has other words than six");
    };
    let address: IpAddr = source.parse().unwrap();
    assert_eq!(family, if address.is_ipv4() { "TCP4" } else { "TCP6" });
    Some(SocketAddr::new(address, port.parse().unwrap()))
}

fn version_2(header: &[u8]) -> Option<SocketAddr> {
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    assert_eq!(header.len(), 16 + length, "its length is another");
    assert_eq!(header[12] >> 4, 2, "its version is another");
    // LOCAL is the balancer's own connection, whatever else it says.
    if header[12].trailing_zeros() >= 4 {
        return None;
    }
    let body = &header[16..];
    let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    match header[13] >> 4 {
        1 => {
            let address: [u8; 4] = body[..4].try_into().unwrap();
            Some(SocketAddr::new(address.into(), port(8)))
        }
        2 => {
            let address: [u8; 16] = body[..16].try_into().unwrap();
            Some(SocketAddr::new(address.into(), port(32)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_proxy_headers_keeps_its_properties() {
        super::super::corpus::holds("proxy_header", super::check);
    }
}
