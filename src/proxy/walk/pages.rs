//! Pages of other origins (Fetch, CORS): a browser's question before a request, and the fields by which a page may read
//! an answer.
//!
//! Only routes that accept publishable keys have any, and the endpoints at which such keys get and end tokens, which
//! open their own answers. A preflight request has no credential, so that the origins of all
//! publishable keys answer it; the request itself is judged by its own key.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};

use crate::domain::accepted::CredentialKind;
use crate::domain::decision::Decision;
use crate::domain::identity::{Bearer, Evidence};
use crate::domain::reason::Reason;
use crate::domain::request::RequestHead;
use crate::domain::route::{Route, Target};
use crate::domain::snapshot::Snapshot;

use crate::proxy::codec::field_list::FieldList;
use crate::proxy::fields::cors;
use crate::proxy::messages::message::{Request, Response};

/// A browser's question: may a page send this request?
#[derive(Debug)]
pub struct Preflight<'r> {
    origin: &'r HeaderValue,
    pub method: Method,
    names: Option<&'r HeaderValue>,
}

/// The answer to a question about a route.
#[derive(Debug)]
pub enum Answered {
    Granted(Response<Bytes>),
    /// No publishable key lists the origin.
    Refused,
}

impl<'r> Preflight<'r> {
    /// The question that a request asks, if it asks one.
    pub fn of(request: &'r Request) -> Option<Self> {
        if request.method != Method::OPTIONS {
            return None;
        }
        let fields = &request.fields;
        let one = |name: &HeaderName| fields.one(name).ok().flatten();
        let method = one(&header::ACCESS_CONTROL_REQUEST_METHOD)?;
        Some(Self {
            origin: one(&header::ORIGIN)?,
            method: Method::from_bytes(method.as_bytes()).ok()?,
            names: one(&header::ACCESS_CONTROL_REQUEST_HEADERS),
        })
    }

    /// The answer, for a request that would go to a route which accepts publishable keys; none for every other one,
    /// which the API answers.
    pub fn answer(&self, head: &RequestHead<'_>, snapshot: &Snapshot) -> Option<Answered> {
        let asked = RequestHead {
            method: &self.method,
            ..*head
        };
        let route = snapshot.catalog.routes.find(&asked).ok()?;
        if !is_for_pages(route) {
            return None;
        }
        let origin = self.origin.to_str().ok();
        Some(
            if origin.is_some_and(|origin| snapshot.key_index.lists(origin)) {
                Answered::Granted(cors::grant(self.origin, &self.method, self.names))
            } else {
                Answered::Refused
            },
        )
    }
}

/// True for a route whose answers a page of another origin may read.
fn is_for_pages(route: &Route) -> bool {
    match &route.target {
        Target::Upstream(_) => route.policy.accept.has(CredentialKind::PublishableKey),
        Target::Local(endpoint) => endpoint.is_for_pages(),
    }
}

/// The origin whose page may read the answer to a request: the one that its key lists, or, for a refusal, one that some
/// key lists. Never for a secret key or a token, and never for a request that its origin has spoiled.
pub fn reader<R>(
    decision: &Decision<'_, R>,
    fields: &FieldList,
    snapshot: &Snapshot,
) -> Option<HeaderValue> {
    if !decision.route.is_some_and(|route| is_for_pages(route)) {
        return None;
    }
    let origin = fields.one(&header::ORIGIN).ok().flatten()?;
    let text = origin.to_str().ok()?;
    let listed = match &decision.caller.bearer {
        Evidence::Proved(Bearer::Key { facts, .. }) => {
            let rules = facts.rules.as_ref();
            rules.is_some_and(|rules| rules.origins.iter().any(|listed| listed.takes(text)))
        }
        Evidence::Proved(Bearer::Token { .. } | Bearer::Foreign { .. })
        | Evidence::Refused(Reason::SecretInBrowser | Reason::OriginRefused) => false,
        // Where a certificate was enough, there is no key: no page has a certificate to show.
        Evidence::Absent | Evidence::Refused(_) => {
            decision.outcome.is_err() && snapshot.key_index.lists(text)
        }
    };
    listed.then(|| origin.clone())
}
