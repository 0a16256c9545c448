//! The call of a local endpoint: what the walk hands over, and what comes back.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use super::certificate::{Fingerprint, SerialNumber};
use super::id::RequestId;
use super::identity::{Caller, Claimed};
use super::local::LocalEndpoint;
use super::reason::Reason;
use super::snapshot::Snapshot;
use super::time::{Timestamp, Validity};

/// A request to a local endpoint, and what its connection has proved.
#[derive(Debug)]
pub struct LocalCall {
    pub endpoint: &'static LocalEndpoint,
    /// The body is whole.
    pub request: Request<Bytes>,
    pub snapshot: Arc<Snapshot>,
    pub caller: Caller,
    pub peer: LocalPeer,
    pub request_id: RequestId,
    pub now: Timestamp,
}

/// The other side of the connection.
#[derive(Clone, Debug)]
pub struct LocalPeer {
    pub address: IpAddr,
    /// The certificate that the client sent, valid or not.
    pub certificate: Option<ShownCertificate>,
    /// For example `TLSv1.3`.
    pub tls_version: &'static str,
    pub sni: Option<Box<str>>,
}

/// The facts from a certificate that was shown.
#[derive(Clone, Debug)]
pub struct ShownCertificate {
    pub serial: SerialNumber,
    pub fingerprint: Fingerprint,
    /// In the form of RFC 2253.
    pub subject: String,
    pub validity: Validity,
}

/// The answer of a local endpoint, and what the record learns from it.
#[derive(Debug)]
pub struct LocalAnswer {
    pub response: Response<Bytes>,
    /// The reason, if the answer is a refusal.
    pub reason: Option<Reason>,
    /// The sender that the endpoint found in the request, proved or not.
    pub claimed: Option<Claimed>,
}

impl From<Response<Bytes>> for LocalAnswer {
    fn from(response: Response<Bytes>) -> Self {
        Self {
            response,
            reason: None,
            claimed: None,
        }
    }
}
