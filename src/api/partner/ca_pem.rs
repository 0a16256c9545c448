//! `GET /.well-known/countersign/ca.pem`: our authority's certificates, so that partners can check what they were given.

use bytes::Bytes;
use http::Response;

use super::answer::{self, Keep};

/// The certificates in PEM, the issuing one first.
pub fn answer(ca_pem: &Bytes) -> Response<Bytes> {
    answer::answer(
        "application/pem-certificate-chain",
        Keep::FiveMinutes,
        ca_pem.clone(),
    )
}
