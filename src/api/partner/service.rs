//! The partner endpoints behind one door: the walk has routed, authorized and limited a request before it comes here.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Response};

use super::metrics::TokenMetrics;
use super::request::PartnerRequest;
use super::{ca_pem, jwks, metadata, token, whoami};
use crate::api::problem::Problem;
use crate::control::tokens::TokenService;
use crate::domain::reason::Reason;
use crate::domain::route::LocalEndpoint;

/// Answers partners.
#[derive(Debug)]
pub struct PartnerService {
    pub tokens: Arc<TokenService>,
    pub metrics: TokenMetrics,
    /// The authority's certificates, for partners to download. Replaced with the authority.
    pub ca_pem: Arc<ArcSwap<Bytes>>,
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
