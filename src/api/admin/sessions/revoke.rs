//! `POST /api/v1/sessions/{session}/revoke`

use axum::Json;
use axum::extract::{Path, State};

use super::view::ChangedSessionView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::{Nothing, OptionalBody};
use crate::api::admin::list::id;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;

/// Ends a session, with all its access tokens and its refresh token.
#[utoipa::path(
    post, path = "/api/v1/sessions/{session}/revoke", tag = "sessions", operation_id = "revoke_session",
    params(("session" = String, Path, description = "The session's id.")),
    responses((status = 200, body = ChangedSessionView))
)]
pub async fn revoke(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Path(session): Path<String>,
    _nothing: OptionalBody<Nothing>,
) -> Result<Json<ChangedSessionView>, Problem> {
    let session = id("session", &session)?;
    let revoked = state.control.revoke_session(&actor, session).await?;
    Ok(Json(revoked.into()))
}
