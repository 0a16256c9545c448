//! Conversion of the operator's TCP options to socket options.

use crate::domain::tcp::Tcp;
use crate::net::tcp::TcpOptions;

pub fn options(tcp: &Tcp) -> TcpOptions {
    let name = tcp.congestion.as_ref();
    TcpOptions {
        congestion: name.map(|name| name.as_str().into()),
        nodelay: tcp.nodelay,
        busy_poll: tcp.busy_poll,
    }
}
