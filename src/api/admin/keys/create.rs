//! `POST /api/v1/keys`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use ipnet::IpNet;
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::CreatedKeyView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::Body;
use crate::api::admin::span::Span;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::control::keys::NewKey;
use crate::domain::api_key::Environment;
use crate::domain::name::Name;
use crate::domain::reason::Reason;
use crate::domain::scope::ScopeSet;

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// The App's id or name.
    app: String,
    /// `default` when absent.
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9._-]{0,29}$")]
    name: Option<Name>,
    /// `live` or `test`; `live` when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    environment: Environment,
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["orders:read"]))]
    scopes: ScopeSet,
    /// The networks that may use the key; all when empty.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["192.0.2.0/24"]))]
    networks: Vec<IpNet>,
    /// Never, when absent.
    #[schema(value_type = Option<String>, example = "90d")]
    expires_in: Option<Span>,
}

/// Makes a key. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/api/v1/keys", tag = "keys", operation_id = "create_key",
    request_body = CreateKey, responses((status = 201, body = CreatedKeyView))
)]
pub async fn create(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Body(key): Body<CreateKey>,
) -> Result<(StatusCode, Json<CreatedKeyView>), Problem> {
    let name = match key.name {
        Some(name) => name,
        None => "default"
            .parse()
            .map_err(|error| Problem::new(Reason::Internal).because(error))?,
    };
    let new = NewKey {
        app: key.app,
        name,
        environment: key.environment,
        scopes: key.scopes,
        networks: key.networks,
        expires_in: key.expires_in.map(|span| span.0),
    };
    let created = state.control.create_key(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(created.into())))
}
