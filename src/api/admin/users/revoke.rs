//! `POST /api/v1/users/revoke`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::Body;
use crate::api::admin::receipt::ReceiptView;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::token::Subject;

/// The user whose sessions end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeUser {
    /// The App, by its id or name.
    app: String,
    /// The user, as the App names it.
    #[schema(value_type = String)]
    user: Subject,
}

/// The number of sessions that ended, and the proof that this is in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RevokedUser)]
pub struct RevokedUserView {
    sessions_ended: u32,
    receipt: ReceiptView,
}

/// Ends every session of a user of an App, with all their tokens. The user may log in again.
#[utoipa::path(
    post, path = "/api/v1/users/revoke", tag = "sessions", operation_id = "revoke_user",
    request_body = RevokeUser, responses((status = 200, body = RevokedUserView))
)]
pub async fn revoke(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Body(body): Body<RevokeUser>,
) -> Result<Json<RevokedUserView>, Problem> {
    let revoked = state
        .control
        .revoke_user(&actor, &body.app, body.user)
        .await?;
    Ok(Json(RevokedUserView {
        sessions_ended: revoked.value,
        receipt: revoked.receipt.into(),
    }))
}
