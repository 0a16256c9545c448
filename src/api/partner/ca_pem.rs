//! `GET /.well-known/countersign/ca.pem`: our authority's certificates, so that partners can check what they were given.

use bytes::Bytes;
use http::Response;

use super::answer::{self, Keep};
use crate::domain::local::{LocalEndpoint, READ, SMALL_BODY};
use crate::domain::policy::Requirement;

/// The endpoint's row in the table.
pub static ENDPOINT: LocalEndpoint = LocalEndpoint {
    name: "countersign.ca_pem",
    path: "/.well-known/countersign/ca.pem",
    methods: &READ,
    requirement: Requirement::None,
    limits: &[],
    body_max: SMALL_BODY,
    open_to_quarantined: true,
    checks_secrets: false,
    of_tokens: false,
};

/// The certificates in PEM, the issuing one first.
pub fn answer(ca_pem: &Bytes) -> Response<Bytes> {
    answer::answer(
        "application/pem-certificate-chain",
        Keep::FiveMinutes,
        ca_pem.clone(),
    )
}
