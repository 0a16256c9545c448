//! `POST /api/v1/token-keys/rotate`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::RotatedTokenKeyView;
use crate::api::admin::authenticate::Admin;
use crate::api::admin::body::OptionalBody;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::reason::Reason;

/// The settings of the token key's rotation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateTokenKey {
    /// True to end all earlier tokens at once, for a key that may have leaked.
    #[serde(default)]
    end_tokens: bool,
}

/// Signs access tokens with a new key; earlier tokens stay valid until they expire.
#[utoipa::path(
    post, path = "/api/v1/token-keys/rotate", tag = "token-keys", operation_id = "rotate_token_key",
    request_body = Option<RotateTokenKey>, responses((status = 201, body = RotatedTokenKeyView))
)]
pub async fn rotate(
    State(state): State<AdminState>,
    Admin(actor): Admin,
    OptionalBody(body): OptionalBody<RotateTokenKey>,
) -> Result<(StatusCode, Json<RotatedTokenKeyView>), Problem> {
    let rotated = state
        .control
        .rotate_token_key(&actor, body.end_tokens)
        .await?;
    let view = RotatedTokenKeyView::of(rotated)
        .ok_or_else(|| Problem::new(Reason::Internal).because("no key signs tokens"))?;
    Ok((StatusCode::CREATED, Json(view)))
}
