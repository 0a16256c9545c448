//! `POST /api/v1/admin-tokens`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::CreatedAdminTokenView;
use crate::api::admin::authenticate::Admin;
use crate::api::admin::body::Body;
use crate::api::admin::span::Span;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::admin::Role;
use crate::domain::name::Name;

/// An admin token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAdminToken {
    /// The token's holder; written into the audit trail.
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9._-]{0,29}$")]
    name: Name,
    /// `viewer`, `operator` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// Never, when absent.
    #[schema(value_type = Option<String>, example = "90d")]
    expires_in: Option<Span>,
}

/// Makes an admin token. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/api/v1/admin-tokens", tag = "admin-tokens", operation_id = "create_admin_token",
    request_body = CreateAdminToken, responses((status = 201, body = CreatedAdminTokenView))
)]
pub async fn create(
    State(state): State<AdminState>,
    Admin(actor): Admin,
    Body(token): Body<CreateAdminToken>,
) -> Result<(StatusCode, Json<CreatedAdminTokenView>), Problem> {
    let expires_in = token.expires_in.map(|span| span.0);
    let created = state
        .control
        .create_admin_token(&actor, token.name, token.role, expires_in)
        .await?;
    Ok((StatusCode::CREATED, Json(created.into())))
}
