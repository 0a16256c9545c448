//! `GET /api/v1/apps`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::view::AppView;
use crate::api::admin::authenticate::Viewer;
use crate::api::admin::list::{List, page};
use crate::api::admin::query::Parameters;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::id::AppId;

/// The part of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListApps {
    /// The last App of the part before.
    #[param(value_type = Option<String>)]
    after: Option<AppId>,
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists all Apps, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/apps", tag = "apps", operation_id = "list_apps",
    params(ListApps), responses((status = 200, body = List<AppView>))
)]
pub async fn list(
    State(state): State<AdminState>,
    _viewer: Viewer,
    Parameters(query): Parameters<ListApps>,
) -> Result<Json<List<AppView>>, Problem> {
    let page = page(query.after, query.limit)?;
    let apps = state.control.apps(page).await?;
    Ok(Json(List::of(&page, apps, |app| app.id, AppView::from)))
}
