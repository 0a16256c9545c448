//! The APIs behind the gateway in the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::EndpointAddress;
use super::file::PemFile;
use super::secret::SecretReference;
use super::size::Size;
use super::span::Span;
use super::tcp::Tcp;
use crate::domain::upstream;

/// An API behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The upstream's addresses. Each request goes to the less loaded of two that are chosen at random.
    pub endpoints: Vec<EndpointAddress>,
    /// The protocol: `http1`, or `http2` with prior knowledge (needed for gRPC).
    #[serde(default)]
    pub protocol: Protocol,
    #[serde(default)]
    pub tls: UpstreamTls,
    #[serde(default)]
    pub timeouts: UpstreamTimeouts,
    #[serde(default)]
    pub pool: Pool,
    #[serde(default)]
    pub http: UpstreamHttp,
    #[serde(default)]
    pub tcp: Tcp,
}

/// The protocol of an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Http1,
    Http2,
}

/// TLS to `https` endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTls {
    /// The file of the trusted authorities for its certificate, or of the certificate itself, in PEM; the system's
    /// authorities when not set.
    pub ca: Option<PemFile>,
    /// The file of the gateway's client certificate and its chain, in PEM.
    pub client_cert: Option<PemFile>,
    /// A reference to the client certificate's private key, in PEM.
    pub client_key: Option<SecretReference>,
    /// The name for SNI and for the verification of the certificate; the endpoint's host when not set.
    pub server_name: Option<String>,
}

/// Timeouts of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTimeouts {
    /// The timeout for name resolution, connection and TLS handshake together.
    pub connect: Span,
    /// The timeout between the end of the request's head and the first byte of the answer, while no body is being sent.
    /// Interim answers like `102 Processing` do not lengthen it.
    pub first_byte: Span,
    /// The timeout between two reads or two writes of a body.
    pub idle: Span,
}

/// Limits of the connections to an upstream, for each worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// The maximum number of open connections; fewer when the limit on open files is too low.
    pub connections_max: u32,
    /// The maximum number of requests that wait for a connection.
    pub queue_max: u32,
    /// The time after which a waiting request is refused.
    pub queue_timeout: Span,
    /// The maximum number of idle connections.
    pub idle_max: u32,
    /// The time after which an idle connection is closed.
    pub idle_timeout: Span,
    /// The age after which a connection takes no further request, so that changed addresses take effect.
    pub age_max: Span,
}

/// Bounds of an answer's head. A larger one is refused with 502.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamHttp {
    /// Bytes of the head of an answer, at most 1MiB.
    pub header_bytes_max: Size,
    /// Header fields of an answer, at most 4096.
    pub headers_max: u16,
}

impl Default for UpstreamHttp {
    fn default() -> Self {
        let bounds = upstream::AnswerBounds::default();
        Self {
            header_bytes_max: Size::from_kib(bounds.header_bytes_max as u64 >> 10),
            headers_max: u16::try_from(bounds.headers_max).unwrap_or(u16::MAX),
        }
    }
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        let timeouts = upstream::Timeouts::default();
        Self {
            connect: timeouts.connect.into(),
            first_byte: timeouts.first_byte.into(),
            idle: timeouts.idle.into(),
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        let bounds = upstream::PoolBounds::default();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            connections_max: count(bounds.connections_max),
            queue_max: count(bounds.queue_max),
            queue_timeout: bounds.queue_timeout.into(),
            idle_max: count(bounds.idle_max),
            idle_timeout: bounds.idle_timeout.into(),
            age_max: bounds.age_max.into(),
        }
    }
}
