//! `POST /api/v1/apps`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::AppView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::Body;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::control::apps::NewApp;
use crate::domain::name::Name;

/// An App to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApp {
    /// Unique among all Apps.
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9._-]{0,29}$")]
    name: Name,
    /// The contact for this App.
    #[schema(max_length = 200)]
    contact: Option<String>,
}

/// Makes an App.
#[utoipa::path(
    post, path = "/api/v1/apps", tag = "apps", operation_id = "create_app",
    request_body = CreateApp, responses((status = 201, body = AppView))
)]
pub async fn create(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Body(app): Body<CreateApp>,
) -> Result<(StatusCode, Json<AppView>), Problem> {
    let new = NewApp {
        name: app.name,
        contact: app.contact,
    };
    let app = state.control.create_app(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(app.into())))
}
