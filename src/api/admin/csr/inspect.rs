//! `POST /api/v1/csr/inspect`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::admin::authenticate::Viewer;
use crate::api::admin::body::Body;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;

/// A signing request to be looked at.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InspectCsr {
    /// A PKCS #10 request in PEM.
    csr: String,
}

/// Says what a signing request holds, and whether it would be signed; changes nothing.
#[utoipa::path(
    post, path = "/api/v1/csr/inspect", tag = "csr", operation_id = "inspect_csr",
    request_body = InspectCsr, responses((status = 200, body = Object))
)]
pub async fn inspect(
    State(state): State<AdminState>,
    _viewer: Viewer,
    Body(body): Body<InspectCsr>,
) -> Result<Response, Problem> {
    let report = state.control.inspect_csr(body.csr.into_bytes()).await?;
    Ok(Json(report).into_response())
}
