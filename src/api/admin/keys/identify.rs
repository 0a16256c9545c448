//! `POST /api/v1/keys/identify`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::admin::authenticate::Viewer;
use crate::api::admin::body::Body;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::control::identify::Identified;
use crate::domain::api_key::{Environment, KeyKind};
use crate::domain::id::{AppId, KeyId};

/// A text that may hold keys.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentifyKeys {
    /// Any text, for example a log or a page. It is kept nowhere.
    text: String,
}

/// The keys of a text.
#[derive(Debug, Serialize, ToSchema)]
pub struct IdentifiedKeys {
    /// Every key, once, in the order of the text.
    found: Vec<IdentifiedKeyView>,
}

/// A key that was found in a text, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IdentifiedKey)]
pub struct IdentifiedKeyView {
    #[schema(value_type = String)]
    key: KeyId,
    /// Absent for a key that this gateway has not made.
    #[schema(value_type = Option<String>)]
    app: Option<AppId>,
    /// `active`, `retiring`, `revoked`, `expired`, or `unknown` for a text that this gateway has not made.
    state: &'static str,
    #[schema(value_type = Option<String>)]
    kind: Option<KeyKind>,
    #[schema(value_type = Option<String>)]
    environment: Option<Environment>,
    /// True if a caller could use it now.
    live: bool,
}

impl From<Identified> for IdentifiedKeyView {
    fn from(found: Identified) -> Self {
        Self {
            key: found.id,
            app: found.known.map(|known| known.app),
            state: found.state(),
            kind: found.known.map(|known| known.kind),
            environment: found.known.map(|known| known.environment),
            live: found.is_live(),
        }
    }
}

impl std::fmt::Debug for IdentifyKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentifyKeys").finish_non_exhaustive()
    }
}

/// Names the keys in a text, by their form and checksum, so that a leaked key can be revoked; changes nothing.
#[utoipa::path(
    post, path = "/api/v1/keys/identify", tag = "keys", operation_id = "identify_keys",
    request_body = IdentifyKeys, responses((status = 200, body = IdentifiedKeys))
)]
pub async fn identify(
    State(state): State<AdminState>,
    _viewer: Viewer,
    Body(body): Body<IdentifyKeys>,
) -> Result<Json<IdentifiedKeys>, Problem> {
    let found = state.control.identify_keys(&body.text);
    let found = found.into_iter().map(Into::into).collect();
    Ok(Json(IdentifiedKeys { found }))
}
