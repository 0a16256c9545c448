//! Requests and answers on their way through, whatever version of HTTP they came by and leave by.

use http::{Method, StatusCode, Uri, Version};

use super::codec::field_list::FieldList;

/// A request without its body.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    pub uri: Uri,
    /// What it came by.
    pub version: Version,
    pub fields: FieldList,
    /// What an extended CONNECT asks for in place of HTTP (RFC 8441).
    pub protocol: Option<h2::ext::Protocol>,
}

/// An answer, or the head of one where `B` is nothing.
#[derive(Debug)]
pub struct Response<B> {
    pub status: StatusCode,
    pub fields: FieldList,
    pub body: B,
}

impl Request {
    /// The same with `body`, for those who want it as the library has it.
    pub fn into_http<B>(self, body: B) -> http::Request<B> {
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
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
            version: parts.version,
            fields: parts.headers.into(),
            protocol: parts.extensions.remove(),
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

    /// The same answer with what `change` makes of its body.
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
