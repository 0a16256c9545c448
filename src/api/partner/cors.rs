//! Pages that call the token endpoint with a publishable Key: they may read their answers, and no other page may.

use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::api_key::KeyKind;
use crate::domain::local_call::{LocalAnswer, LocalCall};
use crate::domain::origin;
use crate::domain::reason::Reason;
use crate::domain::request::normal_host;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The fields of an answer that a page may read besides those that every page may.
const EXPOSED: HeaderValue = HeaderValue::from_static("dpop-nonce, retry-after, x-request-id");

/// The origin of the page that a browser calls for; none if the field is absent, or there are several.
pub fn origin(fields: &HeaderMap) -> Option<&str> {
    only(fields, &ORIGIN)
}

/// True for a request that a browser sends for a page of another site. Several origins are none of this host.
pub fn is_of_another_site(fields: &HeaderMap) -> bool {
    let origin = fields
        .contains_key(ORIGIN)
        .then(|| only(fields, &ORIGIN).unwrap_or_default());
    let host = only(fields, &HOST).and_then(normal_host);
    origin::is_of_another_site(origin, only(fields, &FETCH_SITE), &host.unwrap_or_default())
}

/// Lets the page read an answer to a publishable Key: after a success if its own list has the origin, after a refusal if
/// any list has. An origin that spoiled the request reads nothing.
pub fn let_read(call: &LocalCall, shows_publishable: bool, answer: &mut LocalAnswer) {
    let fields = call.request.headers();
    let (Some(origin), Some(value)) = (origin(fields), fields.get(ORIGIN)) else {
        return;
    };
    let listed = match answer.reason {
        None => takes(call, answer, origin),
        Some(Reason::OriginRefused | Reason::SecretInBrowser) => false,
        Some(_) => shows_publishable && call.snapshot.key_index.lists(origin),
    };
    if listed {
        let fields = answer.response.headers_mut();
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, value.clone());
        fields.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        fields.append(VARY, HeaderValue::from_static("origin"));
    }
}

/// True if the Key of a call that was granted is publishable, and lists the origin.
fn takes(call: &LocalCall, answer: &LocalAnswer, origin: &str) -> bool {
    let key = answer.claimed.and_then(|claimed| claimed.key);
    let entry = key.and_then(|key| call.snapshot.keys.get(&key));
    let rules = entry
        .filter(|entry| entry.kind == KeyKind::Publishable)
        .and_then(|entry| entry.rules.as_ref());
    rules.is_some_and(|rules| rules.origins.iter().any(|listed| listed.takes(origin)))
}

/// The text of the only field of this name.
fn only<'f>(fields: &'f HeaderMap, name: &HeaderName) -> Option<&'f str> {
    let mut values = fields.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
