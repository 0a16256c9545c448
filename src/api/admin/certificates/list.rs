//! `GET /api/v1/certificates`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::view::CertificateView;
use crate::api::admin::authenticate::Viewer;
use crate::api::admin::list::{List, filter, page};
use crate::api::admin::query::Parameters;
use crate::api::admin::span::Span;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::credential::CredentialState;
use crate::domain::id::CertificateId;

/// The filter for certificates, and the part of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListCertificates {
    /// Those of one App, by its id or name.
    app: Option<String>,
    /// Those in one state: `pending`, `active`, `retiring`, `revoked` or `expired`.
    #[param(value_type = Option<String>)]
    state: Option<CredentialState>,
    /// Those that end within this span, for example `30d`, and those that have ended and are not revoked.
    #[param(value_type = Option<String>)]
    expiring: Option<Span>,
    /// The last certificate of the part before.
    #[param(value_type = Option<String>)]
    after: Option<CertificateId>,
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Lists certificates, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/certificates", tag = "certificates", operation_id = "list_certificates",
    params(ListCertificates), responses((status = 200, body = List<CertificateView>))
)]
pub async fn list(
    State(state): State<AdminState>,
    _viewer: Viewer,
    Parameters(query): Parameters<ListCertificates>,
) -> Result<Json<List<CertificateView>>, Problem> {
    let page = page(query.after, query.limit)?;
    let filter = filter(&state, query.app.as_deref(), query.state, query.expiring).await?;
    let found = state.control.certificates(filter, page).await?;
    let list = List::of(&page, found, |found| found.id, CertificateView::from);
    Ok(Json(list))
}
