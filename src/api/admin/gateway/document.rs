//! `GET /api/v1/openapi.json`

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use crate::api::admin::authenticate::Viewer;
use crate::api::admin::query::NoQuery;
use crate::api::admin::state::AdminState;

/// Describes this API.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "gateway", operation_id = "get_openapi",
    responses((status = 200, body = Object, description = "An OpenAPI document."))
)]
pub async fn document(
    _viewer: Viewer,
    _no_query: NoQuery,
    State(state): State<AdminState>,
) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], state.document).into_response()
}
