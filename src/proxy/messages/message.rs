//! Requests and answers in transit, independent of the version of HTTP on either side.

use std::rc::Rc;

use http::{Method, StatusCode, Uri, Version};

use super::hints::Hints;
use super::target::{OddTarget, Target};
use crate::proxy::codec::field_list::FieldList;

/// A request without its body.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    pub uri: Uri,
    /// The target in place of the one in `uri`, if the library would not take it. Boxed: there is hardly ever one.
    pub odd_target: Option<Box<OddTarget>>,
    /// The client's version of HTTP.
    pub version: Version,
    pub fields: FieldList,
    /// The `:protocol` of an extended CONNECT (RFC 8441).
    pub protocol: Option<h2::ext::Protocol>,
    /// The receiver of early hints, if the caller can have them.
    pub hints: Option<Rc<Hints>>,
}

/// An answer, or only its head if `B` is `()`.
#[derive(Debug)]
pub struct Response<B> {
    pub status: StatusCode,
    pub fields: FieldList,
    pub body: B,
}

impl Request {
    /// The target's path, unchanged.
    pub fn path(&self) -> &str {
        match &self.odd_target {
            Some(target) => target.path(),
            None => self.uri.path(),
        }
    }

    /// Path and query, unchanged; `None` for a target that has neither.
    pub fn target(&self) -> Option<Target> {
        match &self.odd_target {
            Some(target) => Some(Target::Odd((**target).clone())),
            None => self.uri.path_and_query().cloned().map(Target::Usual),
        }
    }

    /// The number of bytes of path and query.
    pub fn target_bytes(&self) -> usize {
        match &self.odd_target {
            Some(target) => target.as_str().len(),
            None => self
                .uri
                .path_and_query()
                .map_or(0, |target| target.as_str().len()),
        }
    }

    /// The same request with `body`, in the library's type.
    pub fn into_http<B>(self, body: B) -> http::Request<B> {
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method;
        let odd = self.odd_target.map(|target| Target::Odd(*target));
        let encoded = odd.and_then(|target| target.encoded().ok());
        *request.uri_mut() = encoded.map_or(self.uri, Uri::from);
        *request.version_mut() = self.version;
        *request.headers_mut() = self.fields.into();
        request
    }
}

impl From<http::request::Parts> for Request {
    fn from(mut parts: http::request::Parts) -> Self {
        Self {
            method: parts.method,
            uri: parts.uri,
            odd_target: None,
            version: parts.version,
            fields: parts.headers.into(),
            protocol: parts.extensions.remove(),
            hints: None,
        }
    }
}

impl<B> Response<B> {
    pub fn new(status: StatusCode, body: B) -> Self {
        Self {
            status,
            fields: FieldList::new(),
            body,
        }
    }

    /// The same answer with its body converted by `change`.
    pub fn map<C>(self, change: impl FnOnce(B) -> C) -> Response<C> {
        Response {
            status: self.status,
            fields: self.fields,
            body: change(self.body),
        }
    }
}

impl<B> From<http::Response<B>> for Response<B> {
    fn from(response: http::Response<B>) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            fields: parts.headers.into(),
            body,
        }
    }
}

impl<B> From<Response<B>> for http::Response<B> {
    fn from(response: Response<B>) -> Self {
        let mut made = Self::new(response.body);
        *made.status_mut() = response.status;
        *made.headers_mut() = response.fields.into();
        made
    }
}
