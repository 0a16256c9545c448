//! The listening sockets, and the errors of those that cannot be opened.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use anyhow::anyhow;

use super::settings::tcp_options;
use crate::config::listeners::Partners;
use crate::config::tcp::Tcp;
use crate::net::listener;

/// The number of connections that may wait to be accepted, per worker.
const BACKLOG: i32 = 1024;

/// One listening socket for each worker; the kernel spreads connections over them.
pub fn partners(
    written: &Partners,
    workers: usize,
) -> anyhow::Result<(Vec<TcpListener>, SocketAddr)> {
    let options = tcp_options(&written.tcp);
    let bind = |address| {
        listener::bind(address, BACKLOG, true, &options)
            .map_err(|error| not_bound("listeners.partners.address", address, error))
    };
    // The first socket settles the port when the port is 0.
    let first = bind(written.address.0)?;
    let bound = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(bind(bound)?);
    }
    Ok((listeners, bound))
}

/// The listening socket of the control plane that `setting` configures.
pub fn control(
    setting: &'static str,
    address: SocketAddr,
    tcp: &Tcp,
) -> anyhow::Result<(tokio::net::TcpListener, SocketAddr)> {
    let listener = listener::bind(address, BACKLOG, false, &tcp_options(tcp))
        .map_err(|error| not_bound(setting, address, error))?;
    let bound = listener.local_addr()?;
    Ok((tokio::net::TcpListener::from_std(listener)?, bound))
}

/// The error: the setting, the address, the cause and the fix.
fn not_bound(setting: &str, address: SocketAddr, error: io::Error) -> anyhow::Error {
    let cure = match error.kind() {
        _ if listener::lacks_ipv6(&error) => {
            "this kernel has no IPv6: use an IPv4 address, or \":PORT\" for every address"
        }
        ErrorKind::AddrInUse => "another process listens there: stop it, or use another port",
        ErrorKind::AddrNotAvailable => {
            "no interface of this machine has the address: correct it, or use \":PORT\" for every address"
        }
        ErrorKind::PermissionDenied if address.port() < 1024 => {
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE: grant it, or use a higher port"
        }
        _ => "the operating system does not allow it",
    };
    anyhow!(error).context(format!("{setting}: cannot listen on {address}; {cure}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_listened_on_is_told_with_its_setting_cause_and_cure() {
        for (address, code, cure) in [
            ("[::1]:8443", 97, "no IPv6"),
            ("127.0.0.1:8443", 98, "another process"),
            ("192.0.2.1:8443", 99, "no interface"),
            ("127.0.0.1:443", 13, "CAP_NET_BIND_SERVICE"),
            ("127.0.0.1:8443", 1, "does not allow"),
        ] {
            let error = io::Error::from_raw_os_error(code);
            let text = format!(
                "{:#}",
                not_bound("ops.address", address.parse().unwrap(), error)
            );
            assert!(text.starts_with(&format!("ops.address: cannot listen on {address}; ")));
            assert!(text.contains(cure), "{text}");
            assert!(text.contains(&format!("os error {code}")), "{text}");
        }
    }
}
