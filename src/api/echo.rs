//! An API that answers with what it was sent, for the demo to stand in front of.

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

/// The most of a body that is counted and shown.
const BODY_MAX: usize = 1 << 20;

/// Answers every request with its method, target, header fields and body.
pub fn router() -> Router {
    Router::new().fallback(echo)
}

async fn echo(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let fields = parts.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), Value::String(value))
    });
    let seen = json!({
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "headers": fields.collect::<serde_json::Map<_, _>>(),
        "body": String::from_utf8_lossy(&body),
    });
    let text = serde_json::to_string_pretty(&seen).unwrap_or_default();
    (
        [(http::header::CONTENT_TYPE, "application/json")],
        text + "\n",
    )
        .into_response()
}
