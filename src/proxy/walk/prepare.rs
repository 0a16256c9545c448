//! The step that prepares: a permitted request becomes what its target gets, with clean fields and verified identity
//! headers.

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::domain::identity::{Bearer, Identity};
use crate::domain::identity_headers::IdentityHeaders;
use crate::domain::permit::Grant;
use crate::domain::reason::Reason;
use crate::domain::route::Route;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;

use crate::proxy::codec::field_list::FieldList;
use crate::proxy::connections::live::{Connection, FieldsFor};
use crate::proxy::fields::forwarding;
use crate::proxy::fields::headers::{self, Credentials, Keep};
use crate::proxy::identity_headers::caller::{self, HeaderInputs};
use crate::proxy::identity_headers::fields::Omitted;
use crate::proxy::identity_headers::identity_fields::IdentityFields;
use crate::proxy::messages::host::Host;
use crate::proxy::messages::message::Request;
use crate::proxy::messages::offence::Offence;
use crate::proxy::messages::refusal::Refusal;
use crate::proxy::messages::target::Target;
use crate::proxy::report::closing::Closed;
use crate::proxy::upstream::request::Head;
use crate::proxy::worker::Worker;

/// The circumstances of a permitted request.
#[derive(Clone, Copy, Debug)]
pub struct Permitted<'a> {
    pub worker: &'a Worker,
    pub connection: &'a Connection,
    pub grant: &'a Grant,
    pub snapshot: &'a Snapshot,
    pub now: Timestamp,
}

/// Prepares a request for an upstream. Its fields are taken.
pub fn for_upstream(
    about: Permitted<'_>,
    request: &mut Request,
    host: Host,
    upgrade: Option<HeaderValue>,
) -> Result<Box<Head>, Refusal> {
    let identity = constant_fields(about, &host);
    let target = target(request)?;
    let mut fields = std::mem::take(&mut request.fields);
    let caller_id = caller_id(about, &fields);
    let credentials = credentials(about.grant.route(), &about.snapshot.catalog.issuer);
    clean(about, &mut fields, credentials)?;
    if about.connection.peer.origin.trusted_hop {
        let address = about.connection.peer.origin.address;
        forwarding::append_forwarding(&mut fields, address, &host.value);
    }
    forwarding::trace(&mut fields);
    if let Some((name, given)) = caller_id {
        fields.remove(name);
        fields.extend(given.map(|value| (name.clone(), value)));
    }
    assure(about, &mut fields);
    Ok(Box::new(Head {
        method: request.method.clone(),
        target,
        host: host.value,
        fields,
        identity,
        upgrade,
        hints: request.hints.take(),
    }))
}

/// Prepares a request for a local endpoint, which sees the caller's own credentials.
pub fn for_us(about: Permitted<'_>, request: &mut Request, host: Host) -> Result<(), Refusal> {
    clean(about, &mut request.fields, Credentials::All)?;
    request.fields.append(http::header::HOST, host.value);
    Ok(())
}

/// The target to forward: path and query byte for byte as they came.
fn target(request: &Request) -> Result<Target, Reason> {
    request.target().ok_or(Reason::PathInvalid)
}

/// The field for the caller's own name for its request, and that name, if upstreams get it.
fn caller_id<'a>(
    about: Permitted<'a>,
    fields: &FieldList,
) -> Option<(&'a HeaderName, Option<HeaderValue>)> {
    let trusted_hop = about.connection.peer.origin.trusted_hop;
    about
        .worker
        .settings
        .caller_request_id
        .as_ref()
        .map(|name| {
            let given = forwarding::caller_name(fields, trusted_hop);
            let given = given.and_then(|given| HeaderValue::from_str(given).ok());
            (name, given)
        })
}

/// The caller's credentials that a route forwards.
fn credentials<'i>(route: &Route, issuer: &'i str) -> Credentials<'i> {
    if route.keep_credential {
        return Credentials::All;
    }
    let looked_at = route.policy.requirement.looks_at_bearer();
    Credentials::Foreign { looked_at, issuer }
}

/// Removes the fields that only the gateway may set and those of this connection, and counts them.
fn clean(
    about: Permitted<'_>,
    fields: &mut FieldList,
    credentials: Credentials<'_>,
) -> Result<(), Refusal> {
    let keep = Keep {
        credentials,
        forwarding: about.connection.peer.origin.trusted_hop,
        told: about.snapshot.catalog.issuers.told().map(|told| &**told),
    };
    let spoofed = headers::clean(fields, keep).map_err(invalid)?;
    about.worker.metrics.all.spoofed(&spoofed);
    Ok(())
}

fn invalid(offence: Offence) -> Refusal {
    Refusal::naming(Reason::HeaderInvalid, offence)
}

/// The fields that stay the same for one caller, host and connection, on routes whose upstreams get the same identity
/// headers.
fn constant_fields(about: Permitted<'_>, host: &Host) -> Rc<IdentityFields> {
    let Permitted {
        worker,
        connection,
        grant,
        snapshot,
        ..
    } = about;
    let identity = grant.identity();
    let identity_headers = &grant.route().identity_headers;
    let wanted = FieldsFor {
        snapshot: snapshot.version,
        identity_headers: Arc::as_ptr(identity_headers).addr(),
        certificate: identity
            .and_then(Identity::certificate)
            .map(|proof| proof.id),
        key: identity.and_then(Identity::key),
        token: identity.and_then(Identity::bearer).and_then(Bearer::token),
        host: host.value.clone(),
    };
    connection.fields(wanted, || {
        let mut fields = match identity {
            Some(identity) => introduce(worker, connection, identity, identity_headers),
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
    let (mut fields, omitted) = caller::fields(HeaderInputs {
        identity,
        leaf,
        issuers: worker.generations.load().issuers(),
        wanted,
    });
    if let Some(token) = identity.bearer().and_then(Bearer::foreign) {
        fields.extend(token.told.iter().cloned());
    }
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
fn assure(about: Permitted<'_>, fields: &mut FieldList) {
    let plan = about.grant.route().identity_headers.assertion.as_ref();
    if let (Some(plan), Some(identity)) = (plan, about.grant.identity()) {
        let issuer = &about.snapshot.catalog.issuer;
        let assertions = &about.worker.assertions;
        assertions.put(fields, identity, plan, issuer, about.now);
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
