//! The routes for monitors: `/metrics`, `/livez`, `/readyz`, `/startupz`.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode, Uri};
use prometheus::{Encoder, Registry, TextEncoder};

use super::health::Health;
use crate::api::edge::{self, Edge};
use crate::api::problem::Problem;
use crate::domain::reason::Reason;

/// The state of the routes.
#[derive(Clone, Debug)]
pub struct OpsState {
    pub health: Arc<Health>,
    pub registry: Registry,
}

/// The routes for monitors. Nobody is asked who they are: the listener is the operator's own.
pub fn router(state: OpsState, edge: Edge) -> Router {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/startupz", get(started))
        .with_state(state);
    edge::around(router, edge)
}

async fn metrics(State(state): State<OpsState>) -> Result<Response, Problem> {
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&state.registry.gather(), &mut text)
        .map_err(|error| Problem::new(Reason::Internal).because(error))?;
    let kind = HeaderValue::from_static(prometheus::TEXT_FORMAT);
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

/// The process turns its wheels, or this would not be answered.
async fn live() -> &'static str {
    "ok\n"
}

async fn ready(State(state): State<OpsState>, uri: Uri) -> Response {
    let ready = state.health.is_ready();
    let mut text = String::new();
    if uri
        .query()
        .is_some_and(|query| query.split('&').any(|part| part == "verbose"))
    {
        for check in state.health.checks() {
            // Writing into a string does not fail.
            let _written = writeln!(text, "{}: {}", check.name, check.state.as_str());
        }
    }
    text.push_str(if ready { "ok\n" } else { "not ready\n" });
    (status(ready), plain(text)).into_response()
}

async fn started(State(state): State<OpsState>) -> Response {
    let started = state.health.has_started();
    let text = if started { "ok\n" } else { "starting\n" };
    (status(started), plain(text.to_owned())).into_response()
}

const fn status(good: bool) -> StatusCode {
    if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Spelled unlike the router's own refusals, so that the edge leaves an honest 503 alone.
fn plain(text: String) -> impl IntoResponse {
    let kind = HeaderValue::from_static("text/plain");
    ([(CONTENT_TYPE, kind)], text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::RequestId;
    use axum::body::Body;
    use tokio_util::task::TaskTracker;
    use tower::ServiceExt;

    async fn ask(health: &Arc<Health>, path: &str) -> (u16, String) {
        let registry = Registry::new();
        let counter = prometheus::IntCounter::new("countersign_test_total", "A test.").unwrap();
        registry.register(Box::new(counter)).unwrap();
        let state = OpsState {
            health: Arc::clone(health),
            registry,
        };
        let edge = Edge {
            ids: Arc::new(|| RequestId::from_bits(1)),
            tasks: TaskTracker::new(),
        };
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let response = router(state, edge).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_life_is_told_from_start_to_drain() {
        let health = Arc::new(Health::default());
        assert_eq!(ask(&health, "/livez").await.0, 200);
        assert_eq!(
            ask(&health, "/startupz").await,
            (503, "starting\n".to_owned())
        );
        assert_eq!(
            ask(&health, "/readyz").await,
            (503, "not ready\n".to_owned())
        );
        health.set_started();
        health.set_store_up(false);
        assert_eq!(ask(&health, "/startupz").await.0, 200);
        let verbose = "started: ok\ndraining: ok\nstore: degraded\nok\n".to_owned();
        assert_eq!(ask(&health, "/readyz?verbose").await, (200, verbose));
        health.set_draining();
        assert_eq!(ask(&health, "/readyz").await.0, 503);
        assert_eq!(ask(&health, "/livez").await.0, 200);
    }

    #[tokio::test]
    async fn metrics_are_told_and_nothing_else_is_there() {
        let health = Arc::new(Health::default());
        let (status, text) = ask(&health, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("countersign_test_total 0"), "{text}");
        let (status, text) = ask(&health, "/api/v1/apps").await;
        assert_eq!(status, 404);
        assert!(text.contains("route_unknown"), "{text}");
    }
}
