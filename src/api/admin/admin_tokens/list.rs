//! `GET /api/v1/admin-tokens`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::view::AdminTokenView;
use crate::api::admin::authenticate::Admin;
use crate::api::admin::list::{List, page};
use crate::api::admin::query::Parameters;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::id::AdminTokenId;

/// The part of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListAdminTokens {
    /// The last token of the part before.
    #[param(value_type = Option<String>)]
    after: Option<AdminTokenId>,
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists admin tokens, the oldest first; never the tokens themselves.
#[utoipa::path(
    get, path = "/api/v1/admin-tokens", tag = "admin-tokens", operation_id = "list_admin_tokens",
    params(ListAdminTokens), responses((status = 200, body = List<AdminTokenView>))
)]
pub async fn list(
    State(state): State<AdminState>,
    _admin: Admin,
    Parameters(query): Parameters<ListAdminTokens>,
) -> Result<Json<List<AdminTokenView>>, Problem> {
    let page = page(query.after, query.limit)?;
    let found = state.control.admin_tokens(page).await?;
    let list = List::of(&page, found, |token| token.id, AdminTokenView::from);
    Ok(Json(list))
}
