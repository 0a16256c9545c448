//! `POST /api/v1/reload`

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::api::admin::authenticate::Admin;
use crate::api::admin::body::{Nothing, OptionalBody};
use crate::api::admin::operations::{ReloadRefusal, Reloaded};
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::admin::Actor;
use crate::domain::reason::Reason;

const UNCONFIRMED: &str = "Stored, not confirmed: the new configuration has replaced the old one, \
    and the data plane did not answer in time that it goes by it.";

/// Reads the configuration again. One that is refused leaves the running one untouched.
#[utoipa::path(
    post, path = "/api/v1/reload", tag = "gateway", operation_id = "reload",
    responses((status = 200, body = Reloaded))
)]
pub async fn reload(
    State(state): State<AdminState>,
    Admin(actor): Admin,
    _nothing: OptionalBody<Nothing>,
) -> Result<Json<Reloaded>, Problem> {
    match state.operations.reload().await {
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
            Err(Problem::new(Reason::InputInvalid)
                .detail(format!(
                    "The configuration has {count} problems, and the running one stays in force."
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
