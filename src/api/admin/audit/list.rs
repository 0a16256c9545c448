//! `GET /api/v1/audit`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::view::AuditEventView;
use crate::api::admin::authenticate::Viewer;
use crate::api::admin::list::{List, app_id, page};
use crate::api::admin::query::Parameters;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::id::AuditEventId;
use crate::domain::listing::AuditFilter;

/// The filter for events, and the part of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListAuditEvents {
    /// Those about one App, by its id or name.
    app: Option<String>,
    /// Those of one action, for example `cert.revoke`.
    action: Option<String>,
    /// Those about one thing, by its id.
    subject: Option<String>,
    /// The last event of the part before.
    #[param(value_type = Option<String>)]
    after: Option<AuditEventId>,
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists audit events, the newest first.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit", operation_id = "list_audit_events",
    params(ListAuditEvents), responses((status = 200, body = List<AuditEventView>))
)]
pub async fn list(
    State(state): State<AdminState>,
    _viewer: Viewer,
    Parameters(query): Parameters<ListAuditEvents>,
) -> Result<Json<List<AuditEventView>>, Problem> {
    let page = page(query.after, query.limit)?;
    let filter = AuditFilter {
        app: app_id(&state, query.app.as_deref()).await?,
        action: query.action,
        subject: query.subject,
    };
    let found = state.control.audit(filter, page).await?;
    let list = List::of(&page, found, |event| event.id, AuditEventView::from);
    Ok(Json(list))
}
