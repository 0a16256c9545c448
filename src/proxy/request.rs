//! A request as it came and as it goes on.

use std::rc::Rc;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};

use crate::domain::identity::{Bearer, Identity};
use crate::domain::identity_headers::IdentityHeaders;
use crate::domain::policy::Permit;
use crate::domain::reason::Reason;
use crate::domain::request::Path;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;

use super::codec::field_list::FieldList;
use super::forwarding;
use super::headers::{self, Keep};
use super::host::{Host, LastHost};
use super::identity_fields::IdentityFields;
use super::live::{Connection, FieldsFor};
use super::message::Request;
use super::metrics::{Closed, Metrics};
use super::protocols;
use super::settings::HttpBounds;
use super::told::caller::{self, Introduction};
use super::told::fields::Omitted;
use super::worker::Worker;

/// What of a request's head decides where it goes, once the head is found to be sound.
#[derive(Debug)]
pub struct Asked<'a> {
    pub host: Host,
    pub path: Path<'a>,
    /// The method that routes are found by.
    pub method: Method,
}

/// Reads a head. Whatever two readers might read in two ways is refused here, before anything is decided by it.
pub fn read<'a>(
    request: &'a Request,
    last_host: &LastHost,
    bounds: &HttpBounds,
    metrics: &Metrics,
) -> Result<Asked<'a>, Reason> {
    headers::sound_framing(&request.fields)?;
    let target = request
        .uri
        .path_and_query()
        .map_or("", PathAndQuery::as_str);
    if target.len() > bounds.target_bytes_max {
        return Err(Reason::UriTooLong);
    }
    if request.fields.len() > bounds.headers_max
        || field_bytes(&request.fields) > bounds.headers_bytes_max
    {
        return Err(Reason::HeadersTooLarge);
    }
    headers::refuse_odd_names(&request.fields).map_err(|odd| {
        metrics.spoofed(&odd.imitated);
        Reason::HeaderInvalid
    })?;
    Ok(Asked {
        host: last_host.of(request)?,
        method: protocols::routed_method(request)?,
        path: Path::read(request.uri.path())
            .ok()
            .ok_or(Reason::PathInvalid)?,
    })
}

/// All fields as HTTP/1.1 writes them, with a colon, a space and an end of line each.
fn field_bytes(fields: &FieldList) -> usize {
    fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}

/// The target to forward: the very path that was matched, and the query as it came.
pub fn target(request: &Request, path: &Path<'_>) -> Result<PathAndQuery, Reason> {
    let given = request.uri.path_and_query().ok_or(Reason::PathInvalid)?;
    if given.path() == path.as_str() {
        return Ok(given.clone());
    }
    let text = match given.query() {
        Some(query) => format!("{}?{query}", path.as_str()),
        None => path.as_str().to_owned(),
    };
    PathAndQuery::try_from(text).ok().ok_or(Reason::PathInvalid)
}

/// Makes a request's fields fit to be forwarded, and counts what had to be taken off.
pub fn clean(
    fields: &mut FieldList,
    connection: &Connection,
    host: &Host,
    keep_credential: bool,
    metrics: &Metrics,
) -> Result<(), Reason> {
    let origin = connection.peer.origin;
    let keep = Keep {
        credential: keep_credential,
        forwarding: origin.trusted_hop,
    };
    let spoofed = headers::clean(fields, keep)?;
    metrics.spoofed(&spoofed);
    if origin.trusted_hop {
        forwarding::append_forwarding(fields, origin.address, &host.value);
    }
    forwarding::trace(fields);
    Ok(())
}

/// The fields that stay the same as long as the same caller asks the same host over the same connection, on routes
/// that tell their upstreams the same.
pub fn constant_fields(
    worker: &Worker,
    connection: &Connection,
    permit: &Permit,
    host: &Host,
    snapshot: u64,
) -> Rc<IdentityFields> {
    let identity = permit.identity();
    let told = &permit.route().identity_headers;
    let wanted = FieldsFor {
        snapshot,
        told: Arc::as_ptr(told).addr(),
        certificate: identity
            .and_then(Identity::certificate)
            .map(|proof| proof.id),
        key: identity.and_then(Identity::key),
        token: match identity.and_then(Identity::bearer) {
            Some(Bearer::Token { claims, .. }) => Some(claims.id),
            _ => None,
        },
        host: host.value.clone(),
    };
    connection.fields(wanted, || {
        let mut fields = match identity {
            Some(identity) => introduce(worker, connection, identity, told),
            None => Vec::new(),
        };
        let origin = connection.peer.origin;
        // What a trusted hop has said is appended to for each request; see [`forwarding::append_forwarding`].
        if !origin.trusted_hop {
            forwarding::push_origin(&mut fields, origin.address, &host.value);
        }
        IdentityFields::new(fields)
    })
}

fn introduce(
    worker: &Worker,
    connection: &Connection,
    identity: &Identity,
    wanted: &IdentityHeaders,
) -> Vec<(HeaderName, HeaderValue)> {
    let leaf = connection.peer.leaf.as_deref();
    let (fields, omitted) = caller::fields(Introduction {
        identity,
        leaf,
        issuers: &worker.issuers.load(),
        wanted,
    });
    if let Some(why) = omitted {
        worker.metrics.all.certificate_omitted(why);
    }
    // A connection that was opened before anybody wanted its certificate has none to tell of. Its client makes a
    // new one after this request.
    if omitted == Some(Omitted::Unavailable) && leaf.is_some_and(|leaf| leaf.der.is_none()) {
        connection.end(Closed::Finished);
    }
    fields
}

/// Adds the assertion, where the route's upstream is to be assured of who calls.
pub fn assure(
    fields: &mut FieldList,
    worker: &Worker,
    permit: &Permit,
    snapshot: &Snapshot,
    now: Timestamp,
) {
    let plan = permit.route().identity_headers.assertion.as_ref();
    if let (Some(plan), Some(identity)) = (plan, permit.identity()) {
        let issuer = &snapshot.catalog.issuer;
        worker.assertions.put(fields, identity, plan, issuer, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_that_was_matched_is_forwarded_with_the_query_as_it_came() {
        let check = |raw: &str, expected: &str| {
            let request = http::Request::builder().uri(raw).body(()).unwrap();
            let request = Request::from(request.into_parts().0);
            let path = Path::read(request.uri.path()).unwrap();
            assert_eq!(target(&request, &path).unwrap().as_str(), expected);
        };
        check("/v1/orders", "/v1/orders");
        check("/v1/orders?a=%61&b", "/v1/orders?a=%61&b");
        check("/v1/%6frders?a=%61", "/v1/orders?a=%61");
        check("/v1/a%2fb", "/v1/a%2Fb");
    }
}
