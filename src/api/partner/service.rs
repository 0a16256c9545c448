//! The partner endpoints behind one door: the walk has routed, authorized and limited a request before it comes here.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response};
use serde_json::Value;

use super::metrics::TokenMetrics;
use super::{ca_pem, jwks, metadata, token, whoami};
use crate::api::problem::Problem;
use crate::control::tokens::TokenService;
use crate::domain::certificate::{Fingerprint, SerialNumber};
use crate::domain::id::RequestId;
use crate::domain::identity::{CertificateProof, Evidence};
use crate::domain::reason::Reason;
use crate::domain::route::LocalEndpoint;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::{Timestamp, Validity};

/// Answers partners.
#[derive(Debug)]
pub struct PartnerService {
    pub tokens: Arc<TokenService>,
    pub metrics: TokenMetrics,
    /// The authority's certificates, for partners to download. Replaced with the authority.
    pub ca_pem: Arc<ArcSwap<Bytes>>,
}

/// One request, and what its connection proved.
#[derive(Debug)]
pub struct PartnerRequest {
    pub endpoint: LocalEndpoint,
    /// The body is whole, and at most 16 KiB.
    pub request: Request<Bytes>,
    pub snapshot: Arc<Snapshot>,
    pub peer: PeerFacts,
    pub request_id: RequestId,
    pub now: Timestamp,
}

/// The peer of a connection.
#[derive(Clone, Debug)]
pub struct PeerFacts {
    pub address: IpAddr,
    pub certificate: Evidence<CertificateProof>,
    /// The certificate that the client sent, valid or not.
    pub leaf: Option<LeafFacts>,
    /// For example `TLSv1.3`.
    pub tls_version: &'static str,
    pub sni: Option<String>,
}

/// Facts from a certificate.
#[derive(Clone, Debug)]
pub struct LeafFacts {
    pub serial: SerialNumber,
    pub fingerprint: Fingerprint,
    pub subject: String,
    pub validity: Validity,
}

impl PartnerService {
    /// Answers one request. A refusal carries its [`Reason`] as an extension of the response, for the record.
    pub fn answer(&self, asked: &PartnerRequest) -> Response<Bytes> {
        if !asked.endpoint.methods().contains(asked.request.method()) {
            return wrong_method(asked.endpoint).answer(asked.request_id);
        }
        match asked.endpoint {
            LocalEndpoint::CaPem => ca_pem::answer(&self.ca_pem.load()),
            LocalEndpoint::Jwks => jwks::answer(&asked.snapshot),
            LocalEndpoint::Metadata => metadata::answer(&asked.snapshot),
            LocalEndpoint::Token => token::answer(&self.tokens, &self.metrics, asked),
            LocalEndpoint::Whoami => whoami::answer(asked),
        }
    }
}

/// The router knows the methods; this is for the day when a new one is added there and not here.
fn wrong_method(endpoint: LocalEndpoint) -> Problem {
    let methods: Vec<String> = endpoint.methods().iter().map(Method::to_string).collect();
    let problem = Problem::new(Reason::MethodUnknown);
    match HeaderValue::from_str(&methods.join(", ")) {
        Ok(methods) => problem.allow(methods),
        Err(_) => problem,
    }
}

/// The time for which a client may cache an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// For answers that are the same for everyone and change with a rotation, which overlaps by more than this.
    FiveMinutes,
    Nothing,
}

impl Keep {
    /// The value for `Cache-Control`.
    pub const fn field(self) -> HeaderValue {
        match self {
            Self::FiveMinutes => HeaderValue::from_static("public, max-age=300"),
            Self::Nothing => HeaderValue::from_static("no-store"),
        }
    }
}

/// An answer of one media type.
pub fn answer(kind: &'static str, keep: Keep, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(CACHE_CONTROL, keep.field());
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An answer in JSON.
pub fn json(keep: Keep, body: &Value) -> Response<Bytes> {
    answer(
        "application/json",
        keep,
        Bytes::from(body.to_string() + "\n"),
    )
}
