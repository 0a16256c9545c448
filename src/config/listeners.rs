//! Where the gateway listens, and the bounds of what it listens to.

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

/// Where partners connect: TLS only, HTTP/1.1 and HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Partners {
    /// The address to listen on.
    pub address: ListenAddress,
    /// Connections that are open at a time, in all; fewer where the limit on open files does not allow as many.
    pub connections_max: u32,
    /// Connections that are open at a time from one address.
    pub connections_per_address: u32,
    pub tcp: Tcp,
    pub proxy_protocol: ProxyProtocol,
    pub forwarded: Forwarded,
    pub timeouts: ListenerTimeouts,
    pub http: Http,
    pub discard: Discard,
    pub auth_failures: AuthFailures,
}

/// Load balancers that put a PROXY header (v1 or v2) before the TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyProtocol {
    /// Networks whose connections have to begin with a PROXY header; from others none is read.
    #[schemars(with = "Vec<String>")]
    pub trusted: Vec<IpNet>,
}

/// HTTP proxies in front of the gateway that may say who called them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Forwarded {
    /// Networks whose `X-Forwarded-*` and `Forwarded` headers are appended to; from others they are replaced.
    #[schemars(with = "Vec<String>")]
    pub trusted: Vec<IpNet>,
}

/// How long a partner may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerTimeouts {
    /// From the connection to the end of the TLS handshake, a PROXY header included.
    pub handshake: Span,
    /// From the handshake to the first request's head.
    pub first_request: Span,
    /// From the first byte of a request's head to its last.
    pub header: Span,
    /// Between two requests of a connection.
    pub keep_alive: Span,
    /// Between two pieces of a body, either way.
    pub body: Span,
    pub body_pace: BodyPace,
    /// Between two pieces of a tunnel (WebSocket and the like), either way.
    pub tunnel: Span,
}

/// How slowly a request's body may come on average. It counts the time in which the gateway waits for the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BodyPace {
    /// How long a client is waited for altogether before its pace is looked at.
    pub grace: Span,
    /// Bytes a second that it has to send from then on. 0 asks for none: long and quiet uploads, like streams of a
    /// gRPC client, may then take for ever, and only `body` bounds the pauses between their pieces.
    pub bytes_per_second: u64,
}

/// Bounds of HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Bytes of all the header fields of a request.
    pub header_bytes_max: Size,
    /// Header fields of a request.
    pub headers_max: u16,
    /// Bytes of a request's target.
    pub uri_bytes_max: Size,
    /// Requests that run at a time on one HTTP/2 connection.
    pub streams_max: u32,
    /// Streams that a client may reset before the gateway has looked at them; one more ends the connection.
    pub resets_max: u32,
    /// Bytes of answers that the gateway holds for one HTTP/2 connection whose client does not read them, for all its
    /// streams together. The connections to the upstreams hold about as much again.
    pub unsent_bytes_max: Size,
    /// The field in which upstreams get the `X-Request-Id` that a caller sent, for example `X-Caller-Request-Id`. It is
    /// not forwarded when not set. Nobody else can set the field.
    pub caller_request_id: Option<FieldName>,
}

/// What the gateway reads and discards after an answer that it sent before the request's body had arrived. Without it,
/// most clients would lose the answer. The connection of a client that sends more, or for longer, is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Discard {
    /// Bytes of one request's body.
    pub bytes_max: Size,
    /// How long after the answer.
    pub time: Span,
    /// The longest pause between two pieces.
    pub pause: Span,
}

/// Failed authentication is limited per address, before it costs work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthFailures {
    /// Failures per time from one address.
    pub rate: Rate,
    /// Failures that may come at once.
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

/// Metrics and health, in the clear: keep it on a private address.
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
