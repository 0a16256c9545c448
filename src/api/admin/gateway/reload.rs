//! `POST /api/v1/reload`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::admin::authenticate::Admin;
use crate::api::admin::body::OptionalBody;
use crate::api::admin::operations::{ReloadRefusal, Reloaded};
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::admin::Actor;
use crate::domain::reason::Reason;

const UNCONFIRMED: &str = "Stored, not confirmed: the new configuration has replaced the old one, \
    and the data plane did not answer in time that it goes by it.";

/// The options of a reload.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// Take a configuration that has no route although the running one has some.
    allow_empty: bool,
}

/// Reads the configuration again. One that is refused leaves the running one untouched.
#[utoipa::path(
    post, path = "/api/v1/reload", tag = "gateway", operation_id = "reload",
    request_body = Option<Reload>,
    responses((status = 200, body = Reloaded))
)]
pub async fn reload(
    State(state): State<AdminState>,
    Admin(actor): Admin,
    OptionalBody(asked): OptionalBody<Reload>,
) -> Result<Json<Reloaded>, Problem> {
    match state.operations.reload(asked.allow_empty).await {
        Ok(reloaded) => {
            note(
                &state,
                &actor,
                json!({
                    "accepted": true,
                    "generation": reloaded.generation,
                    "restart_needed": reloaded.restart_needed,
                }),
            )
            .await;
            Ok(Json(reloaded))
        }
        Err(ReloadRefusal::Refused { problems }) => {
            let count = problems.len();
            note(
                &state,
                &actor,
                json!({"accepted": false, "problems": count}),
            )
            .await;
            let counted = match count {
                1 => "1 problem".to_owned(),
                _ => format!("{count} problems"),
            };
            Err(Problem::new(Reason::InputInvalid)
                .detail(format!(
                    "The configuration has {counted}, and the running one stays in force."
                ))
                .member("problems", json!(problems)))
        }
        Err(ReloadRefusal::Unconfirmed { generation }) => {
            note(
                &state,
                &actor,
                json!({"accepted": true, "confirmed": false, "generation": generation}),
            )
            .await;
            Err(Problem::new(Reason::Unconfirmed).detail(UNCONFIRMED))
        }
    }
}

/// The audit event of a reload that has happened: if it cannot be written, an error is logged and nothing is refused.
async fn note(state: &AdminState, actor: &Actor, detail: Value) {
    let noted = state
        .control
        .note(actor, "gateway.reload", "gateway", detail);
    if let Err(error) = noted.await {
        tracing::error!(%error, %actor, "a reload could not be written to the audit trail");
    }
}
