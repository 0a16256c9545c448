//! Settings of the partners' listener, as plain values.

use std::time::Duration;

use ipnet::IpNet;

use crate::domain::name::Name;
use crate::domain::pace::Pace;
use crate::domain::rate::Allowance;
use crate::net::discard::Discard;

/// Settings that the data plane gets at its start and keeps until the process ends.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections of all workers together. Each may hold about 100 KiB, so this bounds memory.
    pub connections_max: usize,
    /// Connections from one IPv4 address or one IPv6 network of 64 bits, all workers together.
    pub connections_per_address: usize,
    /// Networks of clients that begin a connection with a PROXY protocol header. No others may, and these must.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Networks of proxies whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` are trusted and appended to.
    pub trusted_hops: Vec<IpNet>,
    pub timeouts: Timeouts,
    pub http: HttpBounds,
    /// Limits on the discarded rest of a request that has been answered.
    pub discard: Discard,
    /// The field for the caller's own name for a request, to upstreams.
    pub caller_request_id: Option<http::HeaderName>,
    /// Requests that a connection with a refused certificate may send before it is closed. Sixteen are enough for a
    /// person with `curl` and for a client that retries, and too few to be worth anything.
    pub quarantine_requests: u32,
    /// Failed attempts to authenticate that one address may make.
    pub failed_authentication: FailedAuthentication,
    /// Access tokens that each worker remembers as verified, about 600 bytes each.
    pub verified_tokens_max: usize,
    /// Buckets of rate limits, all workers together, about 150 bytes each.
    pub buckets_max: usize,
    /// The body of a signed request, in bytes. It is held until it is verified.
    pub signed_body_max: u64,
    pub app_label: AppLabel,
}

/// The Apps that have series of their own in the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AppLabel {
    #[default]
    Off,
    Listed(Vec<Name>),
    /// So many, in the order in which they first call.
    First(usize),
}

/// Time limits.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// From the connection's first packet to the end of the TLS handshake, PROXY header included.
    pub handshake: Duration,
    /// From the end of the handshake to the end of the first request's head.
    pub first_request: Duration,
    /// From the first byte of an HTTP/1 request's head to its last.
    pub header: Duration,
    /// A connection without a request.
    pub idle: Duration,
    /// A request's body from which nothing arrives.
    pub body_stall: Duration,
    /// The body of a request that is answered here, from its first byte to its last.
    pub local_body: Duration,
    /// The slowest pace of a body.
    pub body_pace: Pace,
    /// An answer of which the client takes nothing.
    pub write_stall: Duration,
    /// A tunnel in which nothing moves either way.
    pub tunnel_idle: Duration,
    /// The time after which running requests of a connection are cut when its credential has ended.
    pub ended_grace: Duration,
    /// The time after which a connection that ends for another reason, and on which nothing runs any more, is cut.
    pub finish_grace: Duration,
}

/// Limits on the size of a request, and on the number at a time.
#[expect(
    clippy::struct_field_names,
    reason = "each is an upper bound, and says so where it is used"
)]
#[derive(Clone, Debug)]
pub struct HttpBounds {
    /// All header fields of a request together, in bytes.
    pub headers_bytes_max: usize,
    /// Header fields of a request.
    pub headers_max: usize,
    /// The request target, in bytes.
    pub target_bytes_max: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub streams_max: u32,
    /// Streams of one HTTP/2 connection that the client has reset before they were looked at.
    pub resets_max: u32,
    /// Bytes of answers that one HTTP/2 connection holds because its client does not take them. Upstreams hold about
    /// as much again.
    pub unsent_max: usize,
}

/// A rate of failed attempts: so many per time, with so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedAuthentication {
    pub count: u32,
    pub period: Duration,
    pub burst: u32,
}

impl FailedAuthentication {
    pub fn allowance(&self) -> Allowance {
        let period = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
        let interval = (period / u64::from(self.count.max(1))).max(1);
        Allowance {
            interval,
            window: interval.saturating_mul(u64::from(self.burst.max(1))),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            connections_per_address: 1024,
            proxy_protocol_from: Vec::new(),
            trusted_hops: Vec::new(),
            timeouts: Timeouts::default(),
            http: HttpBounds::default(),
            discard: Discard::default(),
            caller_request_id: None,
            quarantine_requests: 16,
            failed_authentication: FailedAuthentication {
                count: 30,
                period: Duration::from_mins(1),
                burst: 30,
            },
            verified_tokens_max: 16_384,
            buckets_max: 1 << 20,
            signed_body_max: 1 << 20,
            app_label: AppLabel::Off,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            header: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            body_stall: Duration::from_secs(30),
            local_body: Duration::from_secs(10),
            body_pace: Pace {
                grace: Duration::from_secs(10),
                bytes_per_second: 100,
            },
            write_stall: Duration::from_mins(1),
            tunnel_idle: Duration::from_mins(5),
            // Subtracted from the second within which a revocation takes effect.
            ended_grace: Duration::from_millis(400),
            finish_grace: Duration::from_secs(5),
        }
    }
}

impl Default for HttpBounds {
    fn default() -> Self {
        Self {
            headers_bytes_max: 32 << 10,
            headers_max: 100,
            target_bytes_max: 8 << 10,
            streams_max: 128,
            resets_max: 20,
            unsent_max: 8 << 20,
        }
    }
}
