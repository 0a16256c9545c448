//! `GET /api/v1/certificates/{certificate}`

use axum::Json;
use axum::extract::{Path, State};

use super::view::CertificateWithPemView;
use crate::api::admin::authenticate::Viewer;
use crate::api::admin::query::NoQuery;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;

/// Shows one certificate.
#[utoipa::path(
    get, path = "/api/v1/certificates/{certificate}", tag = "certificates", operation_id = "get_certificate",
    params(("certificate" = String, Path, description = "The certificate's id, fingerprint or serial number.")),
    responses((status = 200, body = CertificateWithPemView))
)]
pub async fn get(
    State(state): State<AdminState>,
    _viewer: Viewer,
    _no_query: NoQuery,
    Path(certificate): Path<String>,
) -> Result<Json<CertificateWithPemView>, Problem> {
    let id = state.control.certificate_id(&certificate).await?;
    let certificate = state.control.certificate(id).await?;
    Ok(Json(certificate.into()))
}
