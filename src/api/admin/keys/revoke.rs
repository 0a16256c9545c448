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
use crate::domain::registry::keys::Revocation;

/// The circumstances of a key's revocation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RevokeKey {
    /// `unspecified` when absent.
    #[schema(value_type = Option<String>, example = "superseded")]
    reason: RevocationReason,
    /// `true` leaves the tokens that were minted from the key until their own end.
    keep_tokens: bool,
    /// `true` revokes a key that retires and is used, though its successor never was.
    force: bool,
}

/// Revokes a key permanently, with every token that was minted from it unless `keep_tokens` says otherwise. A key that
/// retires and was used within ten minutes is refused with `still_in_use` if its successor never was.
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
    let revocation = Revocation {
        reason: body.reason,
        keep_tokens: body.keep_tokens,
        force: body.force,
    };
    let revoked = state.control.revoke_key(&actor, key, revocation).await?;
    Ok(Json(revoked.into()))
}
