//! A request finds its route.

use std::sync::Arc;

use http::Method;

use crate::domain::path::Path;
use crate::domain::reason::Reason;
use crate::domain::request::RequestHead;
use crate::domain::route::{Miss, Route};
use crate::domain::snapshot::Snapshot;

use super::offence::Offence;
use super::refusal::{Extra, Refusal};

/// Finds the route of a request.
pub fn find<'s>(
    snapshot: &'s Snapshot,
    host: &str,
    path: &Path<'_>,
    method: &Method,
) -> Result<&'s Arc<Route>, Refusal> {
    let head = RequestHead { host, path, method };
    snapshot
        .catalog
        .routes
        .find(&head)
        .map_err(|miss| missed(miss, path))
}

fn missed(miss: Miss, path: &Path<'_>) -> Refusal {
    match (Offence::of_miss(path.raw(), &miss), miss) {
        (Some(offence), _) => Refusal::naming(Reason::PathInvalid, offence),
        (None, Miss::Method(allowed)) => {
            Refusal::with(Reason::MethodUnknown, Extra::Allow(allowed))
        }
        (None, _) => Reason::RouteUnknown.into(),
    }
}

/// Refuses a host whose TLS policy is another than the one the connection was opened under: what the handshake
/// asked of the client for one host says nothing about another.
pub fn same_tls_policy(
    snapshot: &Snapshot,
    host: &str,
    policy: u16,
    connection_was_used: bool,
) -> Result<(), Refusal> {
    if snapshot.catalog.tls_policy(host) == policy {
        return Ok(());
    }
    let extra = if connection_was_used {
        Extra::Misdirected
    } else {
        Extra::Nothing
    };
    Err(Refusal::with(Reason::HostMismatch, extra))
}
