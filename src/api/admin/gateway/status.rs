//! `GET /api/v1/status`

use axum::Json;
use axum::extract::State;

use crate::api::admin::authenticate::Viewer;
use crate::api::admin::operations::Status;
use crate::api::admin::query::NoQuery;
use crate::api::admin::state::AdminState;

/// Says how the gateway is.
#[utoipa::path(
    get, path = "/api/v1/status", tag = "gateway", operation_id = "get_status",
    responses((status = 200, body = Status))
)]
pub async fn status(
    State(state): State<AdminState>,
    _viewer: Viewer,
    _no_query: NoQuery,
) -> Json<Status> {
    Json(state.operations.status().await)
}
