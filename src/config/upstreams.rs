//! The APIs behind the gateway, as they are written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::EndpointAddress;
use super::file::PemFile;
use super::secret::SecretReference;
use super::span::Span;
use super::tcp::Tcp;
use crate::domain::upstream;

/// An API behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its addresses; requests go to the one with the fewest of two chosen at random.
    pub endpoints: Vec<EndpointAddress>,
    /// What is spoken to it: `http1`, or `http2` with prior knowledge (gRPC needs it).
    #[serde(default)]
    pub protocol: Protocol,
    #[serde(default)]
    pub tls: UpstreamTls,
    #[serde(default)]
    pub timeouts: UpstreamTimeouts,
    #[serde(default)]
    pub pool: Pool,
    #[serde(default)]
    pub tcp: Tcp,
}

/// What is spoken to an upstream.
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
    /// The file of the authorities that its certificate may come from, in PEM; the system's when not set.
    pub ca: Option<PemFile>,
    /// The file of the certificate that the gateway shows to it, and its chain, in PEM.
    pub client_cert: Option<PemFile>,
    /// Where that certificate's private key is, in PEM.
    pub client_key: Option<SecretReference>,
    /// The name that TLS asks for (SNI) and that its certificate has to have; the endpoint's host when not set.
    pub server_name: Option<String>,
}

/// How long an upstream may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTimeouts {
    /// To resolve, connect and finish TLS.
    pub connect: Span,
    /// From the end of the request's head to the first byte of the answer, while no body is being sent.
    pub first_byte: Span,
    /// Between two pieces of a body, either way.
    pub idle: Span,
}

/// Bounds of the connections to an upstream, for each worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// Connections that are open at a time; fewer where the limit on open files does not allow as many.
    pub connections_max: u32,
    /// Requests that may wait for a connection.
    pub queue_max: u32,
    /// How long one of them waits before it is refused.
    pub queue_timeout: Span,
    /// Connections that are kept while nothing uses them.
    pub idle_max: u32,
    /// How long they are kept.
    pub idle_timeout: Span,
    /// A connection older than this takes no further request, so that changed addresses are noticed.
    pub age_max: Span,
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
