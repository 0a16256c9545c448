//! `POST /api/v1/keys/{key}/revoke`

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::ChangedKeyView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::OptionalBody;
use crate::api::admin::list::id;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::credential::RevocationReason;

/// The reason of a key's revocation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RevokeKey {
    /// `unspecified` when absent.
    #[schema(value_type = Option<String>, example = "superseded")]
    reason: RevocationReason,
}

/// Revokes a key permanently, with every token that was minted from it.
#[utoipa::path(
    post, path = "/api/v1/keys/{key}/revoke", tag = "keys", operation_id = "revoke_key",
    params(("key" = String, Path, description = "The key's id.")),
    request_body = Option<RevokeKey>, responses((status = 200, body = ChangedKeyView))
)]
pub async fn revoke(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Path(key): Path<String>,
    OptionalBody(body): OptionalBody<RevokeKey>,
) -> Result<Json<ChangedKeyView>, Problem> {
    let key = id("key", &key)?;
    let revoked = state.control.revoke_key(&actor, key, body.reason).await?;
    Ok(Json(revoked.into()))
}
