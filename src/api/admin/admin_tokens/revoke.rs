//! `POST /api/v1/admin-tokens/{token}/revoke`

use axum::Json;
use axum::extract::{Path, State};

use super::view::AdminTokenView;
use crate::api::admin::authenticate::Admin;
use crate::api::admin::body::{Nothing, OptionalBody};
use crate::api::admin::list::id;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;

/// Revokes an admin token permanently.
#[utoipa::path(
    post, path = "/api/v1/admin-tokens/{token}/revoke", tag = "admin-tokens", operation_id = "revoke_admin_token",
    params(("token" = String, Path, description = "The admin token's id.")),
    responses((status = 200, body = AdminTokenView))
)]
pub async fn revoke(
    State(state): State<AdminState>,
    Admin(actor): Admin,
    Path(token): Path<String>,
    _nothing: OptionalBody<Nothing>,
) -> Result<Json<AdminTokenView>, Problem> {
    let token = id("admin token", &token)?;
    let revoked = state.control.revoke_admin_token(&actor, token).await?;
    Ok(Json(revoked.into()))
}
