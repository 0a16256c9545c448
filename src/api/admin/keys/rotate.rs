//! `POST /api/v1/keys/{key}/rotate`

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::CreatedKeyView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::OptionalBody;
use crate::api::admin::list::id;
use crate::api::admin::span::Span;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::control::keys::OVERLAP;
use crate::domain::reason::Reason;
use crate::domain::registry::keys::Handover;

/// The settings of a key's rotation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// The time for which the old key stays valid; a day when absent.
    #[schema(value_type = Option<String>, example = "24h")]
    overlap: Option<Span>,
    /// `true` revokes the old key at once, in place of an overlap.
    #[serde(default)]
    revoke_old: bool,
}

impl RotateKey {
    fn handover(&self) -> Result<Handover, Problem> {
        match (self.overlap, self.revoke_old) {
            (None, true) => Ok(Handover::AtOnce),
            (Some(_), true) => {
                Err(Problem::new(Reason::InputInvalid)
                    .detail("give overlap or revoke_old, not both"))
            }
            (overlap, false) => Ok(Handover::Overlap(overlap.map_or(OVERLAP, |span| span.0))),
        }
    }
}

/// Creates a successor with the same scopes, networks, origins, limits and expiry; the old key stays valid for the overlap.
#[utoipa::path(
    post, path = "/api/v1/keys/{key}/rotate", tag = "keys", operation_id = "rotate_key",
    params(("key" = String, Path, description = "The old key's id.")),
    request_body = Option<RotateKey>, responses((status = 201, body = CreatedKeyView))
)]
pub async fn rotate(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Path(key): Path<String>,
    OptionalBody(body): OptionalBody<RotateKey>,
) -> Result<(StatusCode, Json<CreatedKeyView>), Problem> {
    let key = id("key", &key)?;
    let handover = body.handover()?;
    let rotated = state.control.rotate_key(&actor, key, handover).await?;
    Ok((StatusCode::CREATED, Json(rotated.into())))
}
