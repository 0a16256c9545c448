//! A request to a partner endpoint.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;

use crate::domain::certificate::{Fingerprint, SerialNumber};
use crate::domain::id::RequestId;
use crate::domain::identity::{CertificateProof, Evidence};
use crate::domain::route::LocalEndpoint;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::{Timestamp, Validity};

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
