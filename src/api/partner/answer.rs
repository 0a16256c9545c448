//! The answers of partner endpoints.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response};
use serde_json::Value;

/// The time for which a client may cache an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// For answers that are the same for everyone and change with a rotation, which overlaps by more than this.
    FiveMinutes,
    Nothing,
}

impl Keep {
    /// The value for `Cache-Control`.
    pub const fn field(self) -> HeaderValue {
        match self {
            Self::FiveMinutes => HeaderValue::from_static("public, max-age=300"),
            Self::Nothing => HeaderValue::from_static("no-store"),
        }
    }
}

/// An answer of one media type.
pub fn answer(kind: &'static str, keep: Keep, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(CACHE_CONTROL, keep.field());
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An answer in JSON.
pub fn json(keep: Keep, body: &Value) -> Response<Bytes> {
    answer(
        "application/json",
        keep,
        Bytes::from(body.to_string() + "\n"),
    )
}
