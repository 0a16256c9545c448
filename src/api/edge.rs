//! The outermost layer of every router here: gives each request an id, keeps a panic inside its request,
//! writes every refusal as problem details, and sets the fields that every answer has.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use tokio_util::task::TaskTracker;

use super::problem::{Problem, Unwritten};
use crate::domain::id::RequestId;
use crate::domain::reason::Reason;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The source of request ids: randomness is an argument, as time is.
pub type RequestIds = Arc<dyn Fn() -> RequestId + Send + Sync>;

/// The state of the edge.
#[derive(Clone)]
pub struct Edge {
    pub ids: RequestIds,
    /// Holds the work of every request: it is finished even when the caller leaves, since half a change is worse than none.
    pub tasks: TaskTracker,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").finish_non_exhaustive()
    }
}

/// Puts the edge around a router.
pub fn around(router: Router, edge: Edge) -> Router {
    router.layer(from_fn_with_state(edge, through))
}

async fn through(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let id = (edge.ids)();
    request.extensions_mut().insert(id);
    let working = edge.tasks.spawn(next.run(request));
    let response = match working.await {
        Ok(response) => response,
        Err(panic) => Problem::new(Reason::Internal)
            .because(panic)
            .into_response(),
    };
    finish(response, id)
}

fn finish(response: Response, id: RequestId) -> Response {
    let problem = match response.extensions().get::<Unwritten>() {
        Some(unwritten) => unwritten.take(),
        None => foreign(&response),
    };
    let mut response = match problem {
        Some(problem) => problem.answer(id).map(Body::from),
        None => response,
    };
    let fields = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        fields.insert(X_REQUEST_ID, id);
    }
    response
}

/// A refusal that the router made by itself, as a problem: its text is English for programmers, not an answer.
fn foreign(response: &Response) -> Option<Problem> {
    let status = response.status();
    let ours = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind != "text/plain; charset=utf-8");
    if !(status.is_client_error() || status.is_server_error()) || ours {
        return None;
    }
    let reason = match status {
        StatusCode::NOT_FOUND => Reason::RouteUnknown,
        StatusCode::METHOD_NOT_ALLOWED => Reason::MethodUnknown,
        status if status.is_client_error() => Reason::RequestMalformed,
        _ => Reason::Internal,
    };
    let problem = Problem::new(reason).status(status);
    Some(match response.headers().get(ALLOW) {
        Some(methods) => problem.allow(methods.clone()),
        None => problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tower::ServiceExt;

    async fn ask(method: &str, path: &str) -> (StatusCode, http::HeaderMap, serde_json::Value) {
        let router = Router::new().route("/here", get(async || "here")).route(
            "/panic",
            get(async || -> &'static str { panic!("a mistake") }),
        );
        let edge = Edge {
            ids: Arc::new(|| RequestId::from_bits(1)),
            tasks: TaskTracker::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let response = around(router, edge).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 10_000).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        (head.status, head.headers, body)
    }

    #[tokio::test]
    async fn every_refusal_is_a_problem() {
        for (method, path, status, reason) in [
            ("GET", "/nowhere", 404, "route_unknown"),
            ("POST", "/here", 405, "method_unknown"),
            ("GET", "/panic", 500, "internal"),
        ] {
            let (answered, fields, body) = ask(method, path).await;
            assert_eq!(answered, status, "{path}");
            assert_eq!(fields[CONTENT_TYPE], "application/problem+json", "{path}");
            assert_eq!(body["reason"], reason, "{path}");
            assert_eq!(body["request_id"], RequestId::from_bits(1).to_string());
            assert_eq!(fields.contains_key(ALLOW), status == 405, "{path}");
        }
    }

    #[tokio::test]
    async fn every_answer_has_the_fields_that_keep_browsers_away() {
        for path in ["/here", "/nowhere"] {
            let (_, fields, _) = ask("GET", path).await;
            assert_eq!(fields[CACHE_CONTROL], "no-store");
            assert_eq!(fields[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(fields["x-request-id"], RequestId::from_bits(1).to_string());
        }
    }
}
