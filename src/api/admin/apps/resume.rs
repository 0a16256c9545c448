//! `POST /api/v1/apps/{app}/resume`

use axum::Json;
use axum::extract::{Path, State};

use super::view::ChangedAppView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::{Nothing, OptionalBody};
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;

/// Resumes a suspended App: its credentials are valid again.
#[utoipa::path(
    post, path = "/api/v1/apps/{app}/resume", tag = "apps", operation_id = "resume_app",
    params(("app" = String, Path, description = "The App's id or name.")),
    responses((status = 200, body = ChangedAppView))
)]
pub async fn resume(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Path(app): Path<String>,
    _nothing: OptionalBody<Nothing>,
) -> Result<Json<ChangedAppView>, Problem> {
    Ok(Json(state.control.resume_app(&actor, &app).await?.into()))
}
