//! `POST /api/v1/apps/{app}/suspend`

use axum::Json;
use axum::extract::{Path, State};

use super::view::ChangedAppView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::{Nothing, OptionalBody};
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;

/// Suspends an App: every credential of it is refused until it is resumed.
#[utoipa::path(
    post, path = "/api/v1/apps/{app}/suspend", tag = "apps", operation_id = "suspend_app",
    params(("app" = String, Path, description = "The App's id or name.")),
    responses((status = 200, body = ChangedAppView))
)]
pub async fn suspend(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Path(app): Path<String>,
    _nothing: OptionalBody<Nothing>,
) -> Result<Json<ChangedAppView>, Problem> {
    Ok(Json(state.control.suspend_app(&actor, &app).await?.into()))
}
