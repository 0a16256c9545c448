//! Upstreams: the APIs behind the gateway.

use std::time::Duration;

use super::name::Name;
use super::tcp::Tcp;

/// A backend API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub name: Name,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    pub protocol: Protocol,
    pub timeouts: Timeouts,
    pub pool: PoolBounds,
    pub http: AnswerBounds,
    pub tcp: Tcp,
    /// The name that certificates of its endpoints have to have; each endpoint's own host when there is none.
    pub server_name: Option<String>,
    /// Changes whenever the files behind the TLS settings do, so that a reload makes new connections.
    pub tls_generation: u64,
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// True for TLS.
    pub tls: bool,
    /// A host name or an address, without brackets.
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// The protocol of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge, in the clear or over TLS with ALPN `h2`.
    Http2,
}

/// Timeouts of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To resolve, connect and finish TLS.
    pub connect: Duration,
    /// From the end of the request's head to the first byte of the answer, while no body is being sent.
    pub first_byte: Duration,
    /// Between two pieces of a body, either way.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_mins(1),
            idle: Duration::from_mins(1),
        }
    }
}

/// The maximum size of the head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerBounds {
    /// Bytes of the head, its first line included.
    pub header_bytes_max: usize,
    pub headers_max: usize,
}

impl Default for AnswerBounds {
    fn default() -> Self {
        // Twice what the frameworks of APIs allow by default, and little beside what a body holds in memory.
        Self {
            header_bytes_max: 128 << 10,
            headers_max: 512,
        }
    }
}

/// Bounds of the connections to an upstream, for each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolBounds {
    pub connections_max: usize,
    /// Requests that may wait for a connection.
    pub queue_max: usize,
    /// The time after which a waiting request is refused with `upstream_busy`.
    pub queue_timeout: Duration,
    pub idle_max: usize,
    pub idle_timeout: Duration,
    /// A connection older than this takes no further request, so that changed addresses are noticed.
    pub age_max: Duration,
}

impl Default for PoolBounds {
    fn default() -> Self {
        Self {
            connections_max: 512,
            queue_max: 1024,
            queue_timeout: Duration::from_secs(2),
            idle_max: 128,
            idle_timeout: Duration::from_secs(50),
            age_max: Duration::from_mins(10),
        }
    }
}

#[cfg(test)]
impl Upstream {
    /// An upstream of that name without an endpoint, for tests that call none.
    pub fn sample(name: &str) -> Self {
        Self {
            name: name.parse().unwrap(),
            endpoints: Vec::new(),
            protocol: Protocol::default(),
            timeouts: Timeouts::default(),
            pool: PoolBounds::default(),
            http: AnswerBounds::default(),
            tcp: Tcp::default(),
            server_name: None,
            tls_generation: 0,
        }
    }
}
