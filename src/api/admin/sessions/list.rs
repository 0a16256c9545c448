//! `GET /api/v1/sessions`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::view::SessionView;
use crate::api::admin::authenticate::Viewer;
use crate::api::admin::list::{List, page};
use crate::api::admin::query::Parameters;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::control::sessions::SessionQuery;
use crate::domain::device::DeviceId;
use crate::domain::id::SessionId;
use crate::domain::token::Subject;

/// The filter for sessions, and the part of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListSessions {
    /// Those of one App, by its id or name.
    app: Option<String>,
    /// Those of one user, as the App names it.
    #[param(value_type = Option<String>)]
    user: Option<Subject>,
    /// Those on one device, as the App names it.
    #[param(value_type = Option<String>)]
    device: Option<DeviceId>,
    /// The last session of the part before.
    #[param(value_type = Option<String>)]
    after: Option<SessionId>,
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists the sessions that have not ended, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/sessions", tag = "sessions", operation_id = "list_sessions",
    params(ListSessions), responses((status = 200, body = List<SessionView>))
)]
pub async fn list(
    State(state): State<AdminState>,
    _viewer: Viewer,
    Parameters(query): Parameters<ListSessions>,
) -> Result<Json<List<SessionView>>, Problem> {
    let page = page(query.after, query.limit)?;
    let wanted = SessionQuery {
        app: query.app,
        user: query.user,
        device: query.device,
    };
    let found = state.control.sessions(wanted, page).await?;
    let list = List::of(&page, found, |found| found.id, SessionView::from);
    Ok(Json(list))
}
