//! The gateway's listeners and their limits.

use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::ListenAddress;
use super::field_name::FieldName;
use super::rate::Rate;
use super::size::Size;
use super::span::Span;
use super::tcp::Tcp;
use crate::domain::pace::Pace;

/// The listeners for traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listeners {
    pub partners: Partners,
}

/// The listener for partners: TLS only, HTTP/1.1 and HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Partners {
    /// The address to listen on.
    pub address: ListenAddress,
    /// The maximum number of open connections; fewer when the limit on open files is too low.
    pub connections_max: u32,
    /// The maximum number of open connections from one address.
    pub connections_per_address: u32,
    pub tcp: Tcp,
    pub proxy_protocol: ProxyProtocol,
    pub forwarded: Forwarded,
    pub timeouts: ListenerTimeouts,
    pub http: Http,
    pub discard: Discard,
    pub auth_failures: AuthFailures,
}

/// Load balancers that send a PROXY protocol header (version 1 or 2) before the TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyProtocol {
    /// Networks whose connections must begin with a PROXY header; no other connection may have one.
    #[schemars(with = "Vec<String>")]
    pub trusted: Vec<IpNet>,
}

/// HTTP proxies in front of the gateway that may name their own caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Forwarded {
    /// Networks whose `X-Forwarded-*` and `Forwarded` headers are kept and appended to; from other addresses these
    /// headers are replaced.
    #[schemars(with = "Vec<String>")]
    pub trusted: Vec<IpNet>,
}

/// Timeouts of partners' connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerTimeouts {
    /// The timeout of the TLS handshake, a PROXY header included.
    pub handshake: Span,
    /// The timeout between the handshake and the first request's head.
    pub first_request: Span,
    /// The timeout between the first byte of a request's head and its last.
    pub header: Span,
    /// The timeout between two requests of a connection.
    pub keep_alive: Span,
    /// The timeout between two reads or two writes of a body.
    pub body: Span,
    pub body_pace: BodyPace,
    /// The timeout of a tunnel (WebSocket and similar) without traffic in either direction.
    pub tunnel: Span,
}

/// The minimum average rate of a request's body, measured over the time in which the gateway waits for the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BodyPace {
    /// The total waiting time after which the rate is checked.
    pub grace: Span,
    /// The minimum rate in bytes per second. 0 disables it for long, quiet uploads, such as the streams of a gRPC
    /// client: these have no total limit then, and `body` limits only each pause.
    pub bytes_per_second: u64,
}

/// Limits of HTTP requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// `true` enables HTTP/2.
    pub http2: bool,
    /// The maximum size of all header fields of a request.
    pub header_bytes_max: Size,
    /// The maximum number of header fields of a request.
    pub headers_max: u16,
    /// The maximum size of a request's target.
    pub uri_bytes_max: Size,
    /// The maximum number of concurrent requests on one HTTP/2 connection.
    pub streams_max: u32,
    /// The maximum number of streams that a client may reset before the gateway has accepted them; one more closes
    /// the connection.
    pub resets_max: u32,
    /// The maximum size of unread answers that the gateway holds for one HTTP/2 connection, for all its streams
    /// together. The connections to the upstreams hold about as much again.
    pub unsent_bytes_max: Size,
    /// The field in which upstreams get the `X-Request-Id` that a caller sent, for example `X-Caller-Request-Id`. It is
    /// not forwarded when not set. Nobody else can set the field.
    pub caller_request_id: Option<FieldName>,
}

/// Limits of the data that the gateway reads and discards after an answer that it sent before the request's body had
/// arrived. Without it, most clients would lose the answer. Above a limit, the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Discard {
    /// The maximum size for one request's body.
    pub bytes_max: Size,
    /// The maximum time after the answer.
    pub time: Span,
    /// The timeout between two reads.
    pub pause: Span,
}

/// The limit on failed authentication from one address. It applies before the gateway checks a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthFailures {
    /// The rate of failures that an address may have.
    pub rate: Rate,
    /// The number of failures that an address may have at once.
    pub burst: u32,
}

/// The admin API: TLS with a certificate of the gateway's own authority, and a unix socket for the local command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// The address to listen on.
    pub address: ListenAddress,
    /// The unix socket; `admin.sock` in the data directory when not set.
    pub socket: Option<PathBuf>,
    pub tcp: Tcp,
}

/// Metrics and health over plain HTTP: keep this listener on a private address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ops {
    /// The address to listen on.
    pub address: ListenAddress,
    pub tcp: Tcp,
}

impl Default for Partners {
    fn default() -> Self {
        Self {
            address: ListenAddress::every(8443),
            connections_max: 20_000,
            connections_per_address: 1_000,
            tcp: Tcp::default(),
            proxy_protocol: ProxyProtocol::default(),
            forwarded: Forwarded::default(),
            timeouts: ListenerTimeouts::default(),
            http: Http::default(),
            discard: Discard::default(),
            auth_failures: AuthFailures::default(),
        }
    }
}

impl Default for ListenerTimeouts {
    fn default() -> Self {
        Self {
            handshake: Span::from_secs(10),
            first_request: Span::from_secs(15),
            header: Span::from_secs(10),
            keep_alive: Span::from_secs(75),
            body: Span::from_secs(30),
            body_pace: BodyPace::default(),
            tunnel: Span::from_secs(300),
        }
    }
}

impl BodyPace {
    pub const fn get(&self) -> Pace {
        Pace::of(self.grace.get(), self.bytes_per_second)
    }
}

impl Default for BodyPace {
    fn default() -> Self {
        Self {
            grace: Span::from_secs(10),
            bytes_per_second: 100,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            http2: true,
            header_bytes_max: Size::from_kib(32),
            headers_max: 100,
            uri_bytes_max: Size::from_kib(8),
            streams_max: 128,
            resets_max: 20,
            unsent_bytes_max: Size::from_kib(8 << 10),
            caller_request_id: None,
        }
    }
}

impl Default for Discard {
    fn default() -> Self {
        Self {
            bytes_max: Size::from_kib(64 << 10),
            time: Span::from_secs(30),
            pause: Span::from_secs(5),
        }
    }
}

impl Default for AuthFailures {
    fn default() -> Self {
        Self {
            rate: Rate {
                count: 60,
                period: Span::from_secs(60),
            },
            burst: 60,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: ListenAddress::loopback(7443),
            socket: None,
            tcp: Tcp::default(),
        }
    }
}

impl Default for Ops {
    fn default() -> Self {
        Self {
            address: ListenAddress::loopback(7444),
            tcp: Tcp::default(),
        }
    }
}
