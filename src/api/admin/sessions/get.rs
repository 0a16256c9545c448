//! `GET /api/v1/sessions/{session}`

use axum::Json;
use axum::extract::{Path, State};

use super::view::SessionView;
use crate::api::admin::authenticate::Viewer;
use crate::api::admin::list::id;
use crate::api::admin::query::NoQuery;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;

/// Shows one session, for a day after its end, too.
#[utoipa::path(
    get, path = "/api/v1/sessions/{session}", tag = "sessions", operation_id = "get_session",
    params(("session" = String, Path, description = "The session's id.")),
    responses((status = 200, body = SessionView))
)]
pub async fn get(
    State(state): State<AdminState>,
    _viewer: Viewer,
    _no_query: NoQuery,
    Path(session): Path<String>,
) -> Result<Json<SessionView>, Problem> {
    let session = state.control.session(id("session", &session)?).await?;
    Ok(Json(session.into()))
}
