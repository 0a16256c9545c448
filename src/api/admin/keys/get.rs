//! `GET /api/v1/keys/{key}`

use axum::Json;
use axum::extract::{Path, State};

use super::view::KeyView;
use crate::api::admin::authenticate::Viewer;
use crate::api::admin::list::id;
use crate::api::admin::query::NoQuery;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;

/// Shows one key, without its secret.
#[utoipa::path(
    get, path = "/api/v1/keys/{key}", tag = "keys", operation_id = "get_key",
    params(("key" = String, Path, description = "The key's id.")),
    responses((status = 200, body = KeyView))
)]
pub async fn get(
    State(state): State<AdminState>,
    _viewer: Viewer,
    _no_query: NoQuery,
    Path(key): Path<String>,
) -> Result<Json<KeyView>, Problem> {
    let (key, used) = state.control.key_and_use(id("key", &key)?).await?;
    Ok(Json(KeyView::used(key, used)))
}
