//! `GET /api/v1/keys`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::view::KeyView;
use crate::api::admin::authenticate::Viewer;
use crate::api::admin::list::{List, filter, page};
use crate::api::admin::query::Parameters;
use crate::api::admin::span::Span;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::credential::CredentialState;
use crate::domain::id::KeyId;

/// The filter for keys, and the part of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListKeys {
    /// Those of one App, by its id or name.
    app: Option<String>,
    /// Those in one state: `pending`, `active`, `retiring`, `revoked` or `expired`.
    #[param(value_type = Option<String>)]
    state: Option<CredentialState>,
    /// Those that end within this span, for example `30d`, and those that have ended and are not revoked.
    #[param(value_type = Option<String>)]
    expiring: Option<Span>,
    /// The last key of the part before.
    #[param(value_type = Option<String>)]
    after: Option<KeyId>,
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists keys, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/keys", tag = "keys", operation_id = "list_keys",
    params(ListKeys), responses((status = 200, body = List<KeyView>))
)]
pub async fn list(
    State(state): State<AdminState>,
    _viewer: Viewer,
    Parameters(query): Parameters<ListKeys>,
) -> Result<Json<List<KeyView>>, Problem> {
    let page = page(query.after, query.limit)?;
    let filter = filter(&state, query.app.as_deref(), query.state, query.expiring).await?;
    let found = state.control.keys_and_uses(filter, page).await?;
    let list = List::of(
        &page,
        found,
        |(key, _)| key.id,
        |(key, used)| KeyView::used(key, used),
    );
    Ok(Json(list))
}
