//! `POST /api/v1/drain`

use axum::extract::State;
use http::StatusCode;
use serde_json::json;

use crate::api::admin::authenticate::Admin;
use crate::api::admin::body::{Nothing, OptionalBody};
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
        tracing::error!(%error, %actor, "a drain could not be written into the audit trail");
    }
    state.operations.drain().await;
    Ok(StatusCode::ACCEPTED)
}
