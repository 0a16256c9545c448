//! `POST /api/v1/limits/boosts/{boost}/end`

use axum::Json;
use axum::extract::{Path, State};

use super::view::ChangedBoostView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::{Nothing, OptionalBody};
use crate::api::admin::list::id;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;

/// Ends a boost before its date.
#[utoipa::path(
    post, path = "/api/v1/limits/boosts/{boost}/end", tag = "limits", operation_id = "end_boost",
    params(("boost" = String, Path, description = "The boost's id.")),
    responses((status = 200, body = ChangedBoostView))
)]
pub async fn end(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Path(boost): Path<String>,
    _nothing: OptionalBody<Nothing>,
) -> Result<Json<ChangedBoostView>, Problem> {
    let boost = id("boost", &boost)?;
    Ok(Json(state.control.end_boost(&actor, boost).await?.into()))
}
