//! `POST /api/v1/drain`, `GET /api/v1/drain`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::json;

use crate::api::admin::authenticate::{Admin, Viewer};
use crate::api::admin::body::{Nothing, OptionalBody};
use crate::api::admin::operations::DrainProgress;
use crate::api::admin::query::NoQuery;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;

/// Begins to shut the gateway down: what was accepted is finished, then the process ends.
#[utoipa::path(
    post, path = "/api/v1/drain", tag = "gateway", operation_id = "drain",
    responses((status = 202, description = "The drain has begun."))
)]
pub async fn drain(
    State(state): State<AdminState>,
    Admin(actor): Admin,
    _nothing: OptionalBody<Nothing>,
) -> Result<StatusCode, Problem> {
    // Written down first: afterwards the process may be gone. A store that is away must not keep it from leaving.
    let noted = state
        .control
        .note(&actor, "gateway.drain", "gateway", json!({}));
    if let Err(error) = noted.await {
        tracing::error!(%error, %actor, "a drain could not be written to the audit trail");
    }
    state.operations.drain().await;
    Ok(StatusCode::ACCEPTED)
}

/// Says how the drain goes. While it goes on, the answer comes after a second or with its end, whichever is first:
/// ask again until it says `drained`.
#[utoipa::path(
    get, path = "/api/v1/drain", tag = "gateway", operation_id = "get_drain",
    responses((status = 200, body = DrainProgress))
)]
pub async fn progress(
    State(state): State<AdminState>,
    _viewer: Viewer,
    _no_query: NoQuery,
) -> Json<DrainProgress> {
    Json(state.operations.drain_progress().await)
}
