//! `GET /api/v1/limits/boosts`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::view::BoostView;
use crate::api::admin::authenticate::Viewer;
use crate::api::admin::list::{List, app_id, page};
use crate::api::admin::query::Parameters;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::id::BoostId;

/// The filter for boosts, and the part of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListBoosts {
    /// Those of one App, by its id or name.
    app: Option<String>,
    /// The last boost of the part before.
    #[param(value_type = Option<String>)]
    after: Option<BoostId>,
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists the boosts that have not ended, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/limits/boosts", tag = "limits", operation_id = "list_boosts",
    params(ListBoosts), responses((status = 200, body = List<BoostView>))
)]
pub async fn list(
    State(state): State<AdminState>,
    _viewer: Viewer,
    Parameters(query): Parameters<ListBoosts>,
) -> Result<Json<List<BoostView>>, Problem> {
    let page = page(query.after, query.limit)?;
    let app = app_id(&state, query.app.as_deref()).await?;
    let found = state.control.boosts(app, &page);
    let list = List::of(&page, found, |found| found.boost.id, BoostView::from);
    Ok(Json(list))
}
