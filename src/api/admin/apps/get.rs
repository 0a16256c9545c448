//! `GET /api/v1/apps/{app}`

use axum::Json;
use axum::extract::{Path, State};

use super::view::AppView;
use crate::api::admin::authenticate::Viewer;
use crate::api::admin::query::NoQuery;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;

/// Shows one App.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}", tag = "apps", operation_id = "get_app",
    params(("app" = String, Path, description = "The App's id or name.")),
    responses((status = 200, body = AppView))
)]
pub async fn get(
    State(state): State<AdminState>,
    _viewer: Viewer,
    _no_query: NoQuery,
    Path(app): Path<String>,
) -> Result<Json<AppView>, Problem> {
    Ok(Json(state.control.app(&app).await?.into()))
}
