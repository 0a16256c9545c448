//! Socket options, and the kernel's refusals of them.

use std::io;
use std::num::NonZeroU16;
use std::os::fd::AsFd;
use std::sync::Arc;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Options that sockets get before they listen or connect; accepted sockets inherit them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// The name of a congestion control; `None` for the kernel's default.
    pub congestion: Option<Arc<str>>,
    /// True for `TCP_NODELAY`: written bytes leave at once.
    pub nodelay: bool,
    /// `SO_BUSY_POLL`: microseconds for which a read polls the network card itself; `None` for no polling.
    pub busy_poll: Option<NonZeroU16>,
}

/// The option that the kernel refused; the source has its error.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("this process may not poll network cards; SO_BUSY_POLL may need CAP_NET_ADMIN")]
    BusyPoll(#[source] io::Error),
    #[error("the kernel does not offer the congestion control {name}, or not to this process")]
    Congestion {
        name: Arc<str>,
        #[source]
        source: io::Error,
    },
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            congestion: None,
            nodelay: true,
            busy_poll: None,
        }
    }
}

impl TcpOptions {
    /// Checks that the kernel grants all options, on a socket without a connection.
    pub fn try_out(&self) -> io::Result<()> {
        self.set_on(&Socket::new(
            Domain::IPV4,
            Type::STREAM,
            Some(Protocol::TCP),
        )?)
    }

    /// Sets the options of a socket. Options at the kernel's default are skipped: each costs a system call.
    pub(super) fn set_on(&self, socket: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(socket);
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(name) = &self.congestion {
            let refused = |source: io::Error| {
                let (kind, name) = (source.kind(), Arc::clone(name));
                io::Error::new(kind, Refused::Congestion { name, source })
            };
            socket
                .set_tcp_congestion(name.as_bytes())
                .map_err(refused)?;
        }
        if let Some(time) = self.busy_poll {
            let refused =
                |source: io::Error| io::Error::new(source.kind(), Refused::BusyPoll(source));
            socket
                .set_busy_poll(u32::from(time.get()))
                .map_err(refused)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn with_options(options: &TcpOptions) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        options.set_on(&socket).unwrap();
        socket
    }

    fn congestion(socket: &Socket) -> String {
        let name = socket.tcp_congestion().unwrap();
        let text = String::from_utf8(name).unwrap();
        text.trim_end_matches('\0').to_owned()
    }

    #[test]
    fn a_socket_has_what_it_was_told_and_else_what_the_kernel_gives() {
        let plain = with_options(&TcpOptions {
            nodelay: false,
            ..TcpOptions::default()
        });
        let untouched = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        for socket in [&plain, &untouched] {
            assert!(!socket.tcp_nodelay().unwrap());
            assert_eq!(congestion(socket), congestion(&untouched));
            assert_eq!(socket.busy_poll().unwrap(), untouched.busy_poll().unwrap());
        }
        assert!(with_options(&TcpOptions::default()).tcp_nodelay().unwrap());
        // Every kernel has this one.
        let reno = TcpOptions {
            congestion: Some("reno".into()),
            ..TcpOptions::default()
        };
        assert_eq!(congestion(&with_options(&reno)), "reno");
        let polls = TcpOptions {
            busy_poll: NonZeroU16::new(50),
            ..TcpOptions::default()
        };
        // Some processes lack the permission.
        match polls.try_out() {
            Ok(()) => assert_eq!(with_options(&polls).busy_poll().unwrap(), 50),
            Err(error) => assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}"),
        }
    }

    #[test]
    fn what_the_kernel_does_not_offer_is_refused_by_name() {
        let options = TcpOptions {
            congestion: Some("no-such".into()),
            ..TcpOptions::default()
        };
        let refused = options.try_out().unwrap_err();
        assert!(refused.to_string().contains("no-such"), "{refused}");
        assert!(refused.source().is_some());
    }
}
