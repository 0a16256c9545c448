//! Requests: parsed as they came, and prepared to be forwarded.

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Version, header};

use crate::domain::identity::{Bearer, Identity};
use crate::domain::identity_headers::IdentityHeaders;
use crate::domain::path::Path;
use crate::domain::path_fault::PathFault;
use crate::domain::permit::Permit;
use crate::domain::reason::Reason;
use crate::domain::route::{self, Route};
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;

use super::codec::field_list::FieldList;
use super::forwarding;
use super::headers::{self, Credentials, Keep};
use super::host::{Host, LastHost};
use super::identity_fields::IdentityFields;
use super::live::{Connection, FieldsFor};
use super::message::Request;
use super::metrics::{Closed, Metrics};
use super::odd_names;
use super::offence::Offence;
use super::protocols;
use super::refusal::Refusal;
use super::settings::HttpBounds;
use super::target::Target;
use super::told::caller::{self, Introduction};
use super::told::fields::Omitted;
use super::worker::Worker;

/// The parts of a valid request's head that decide its route.
#[derive(Debug)]
pub struct Asked<'a> {
    pub host: Host,
    pub path: Path<'a>,
    /// The method for routing.
    pub method: Method,
    /// True if some field's name has other characters than letters, digits and hyphens.
    pub odd_names: bool,
}

/// Parses a head. Everything that two readers might read in two ways is refused here, before any decision by it.
pub fn read<'a>(
    request: &'a Request,
    last_host: &LastHost,
    any_host: bool,
    bounds: &HttpBounds,
) -> Result<Asked<'a>, Refusal> {
    headers::sound_framing(&request.fields)?;
    if request.target_bytes() > bounds.target_bytes_max {
        return Err(Reason::UriTooLong.into());
    }
    if count(request) > bounds.headers_max
        || field_bytes(&request.fields) > bounds.headers_bytes_max
    {
        return Err(Reason::HeadersTooLarge.into());
    }
    let odd_names = odd_names::look(&request.fields).map_err(invalid)?;
    Ok(Asked {
        host: last_host.of(request, any_host)?,
        odd_names,
        method: protocols::routed_method(request)?,
        path: path(request)?,
    })
}

fn path(request: &Request) -> Result<Path<'_>, Refusal> {
    let text = request.path();
    let refused = |why| {
        let offence = Offence::of_path(text.as_bytes(), why);
        Refusal::naming(Reason::PathInvalid, offence)
    };
    let path = Path::read(text).map_err(refused)?;
    match &request.odd_target {
        Some(target) => query(target.as_str()).map(|()| path),
        None => Ok(path),
    }
}

/// Refuses a query that breaks the request line, or has a fragment: an upstream may cut that off, or take it for a part
/// of the query.
fn query(target: &str) -> Result<(), Refusal> {
    let breaks = |byte: u8| byte <= b' ' || byte == 0x7f || byte == b'#';
    let Some((at, byte)) = target.bytes().enumerate().find(|(_, byte)| breaks(*byte)) else {
        return Ok(());
    };
    let (rule, says) = match byte {
        b'#' => (PathFault::Fragment.as_str(), PathFault::Fragment.says()),
        _ => ("control", "The query holds a blank or a control character"),
    };
    let offence = Offence::new(rule, says, Some(at), &[byte]);
    Err(Refusal::naming(Reason::PathInvalid, offence))
}

/// The number of fields. HTTP/2 clients split `Cookie` for compression (RFC 9113, 8.2.3), so it is one field there.
fn count(request: &Request) -> usize {
    let fields = &request.fields;
    if request.version != Version::HTTP_2 || !fields.contains(&header::COOKIE) {
        return fields.len();
    }
    fields.len() + 1 - fields.get_all(&header::COOKIE).count()
}

fn invalid(offence: Offence) -> Refusal {
    Refusal::naming(Reason::HeaderInvalid, offence)
}

/// The size of all fields in HTTP/1.1, with a colon, a space and an end of line each.
fn field_bytes(fields: &FieldList) -> usize {
    fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}

/// The target to forward: path and query byte for byte as they came.
pub fn target(request: &Request) -> Result<Target, Reason> {
    request.target().ok_or(Reason::PathInvalid)
}

/// Applies the host's rule for odd field names, and counts them. Returns the first one that was removed.
pub fn settle_names(
    fields: &mut FieldList,
    route: &Route,
    caller_id: Option<&HeaderName>,
    metrics: &Metrics,
) -> Result<Option<String>, Refusal> {
    let removed = odd_names::settle(fields, route.header_names, caller_id).map_err(invalid)?;
    metrics.spoofed(&removed.imitated);
    metrics.names_dropped.inc_by(removed.dropped);
    Ok(removed.first)
}

/// The caller's credentials that a route forwards.
pub fn credentials<'i>(route: &Route, issuer: &'i str) -> Credentials<'i> {
    if route.keep_credential || matches!(route.target, route::Target::Local(_)) {
        return Credentials::All;
    }
    let looked_at = route.policy.requirement.looks_at_bearer();
    Credentials::Foreign { looked_at, issuer }
}

/// Makes a request's fields fit to be forwarded, and counts the removed ones.
pub fn clean(
    fields: &mut FieldList,
    connection: &Connection,
    host: &Host,
    credentials: Credentials<'_>,
    metrics: &Metrics,
) -> Result<(), Refusal> {
    let origin = connection.peer.origin;
    let keep = Keep {
        credentials,
        forwarding: origin.trusted_hop,
    };
    let spoofed = headers::clean(fields, keep).map_err(invalid)?;
    metrics.spoofed(&spoofed);
    if origin.trusted_hop {
        forwarding::append_forwarding(fields, origin.address, &host.value);
    }
    forwarding::trace(fields);
    Ok(())
}

/// The fields that stay the same for one caller, host and connection, on routes whose upstreams get the same identity
/// headers.
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
        // Fields of a trusted hop are appended to for each request; see [`forwarding::append_forwarding`].
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
    // A connection that was opened before any upstream wanted its certificate has not kept it. Its client opens a new
    // one after this request.
    if omitted == Some(Omitted::Unavailable) && leaf.is_some_and(|leaf| leaf.der.is_none()) {
        connection.end(Closed::Finished);
    }
    fields
}

/// Adds the assertion, if the route's upstream gets one.
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
    fn path_and_query_are_forwarded_as_they_came() {
        for (uri, forwarded) in [
            ("/v1/orders", "/v1/orders"),
            ("/v1/%6frders?a=%61&b", "/v1/%6frders?a=%61&b"),
            ("https://a.test/x%3ay?", "/x%3ay?"),
        ] {
            let request = http::Request::builder().uri(uri).body(()).unwrap();
            let request = Request::from(request.into_parts().0);
            assert_eq!(target(&request).unwrap().as_str(), forwarded);
        }
    }
}
