//! `GET /api/v1/token-keys`

use axum::Json;
use axum::extract::State;

use super::view::TokenKeysView;
use crate::api::admin::authenticate::Viewer;
use crate::api::admin::query::NoQuery;
use crate::api::admin::state::AdminState;

/// Lists the keys that verify access tokens; there are never more than a few.
#[utoipa::path(
    get, path = "/api/v1/token-keys", tag = "token-keys", operation_id = "list_token_keys",
    responses((status = 200, body = TokenKeysView))
)]
pub async fn list(
    State(state): State<AdminState>,
    _viewer: Viewer,
    _no_query: NoQuery,
) -> Json<TokenKeysView> {
    Json(state.control.token_keys().await.into())
}
