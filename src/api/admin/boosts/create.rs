//! `POST /api/v1/limits/boosts`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::view::ChangedBoostView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::Body;
use crate::api::admin::span::Span;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::control::boosts::{BoostEnd, BoostOf, NewBoost};
use crate::domain::factor::Factor;
use crate::domain::id::KeyId;
use crate::domain::name::Name;
use crate::domain::reason::Reason;
use crate::domain::time::Timestamp;

/// A boost to be added: of an App or of a key, until a date or for a time.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBoost {
    /// The App, by its id or name.
    app: Option<String>,
    /// The only key that the boost is for.
    #[schema(value_type = Option<String>)]
    key: Option<KeyId>,
    /// The only limit that the boost raises, by its name; all that count the App, its keys or its users when absent.
    #[schema(value_type = Option<String>)]
    limit: Option<Name>,
    /// More than 1, at most 1000, with two decimals at most.
    #[schema(value_type = f64, example = 3)]
    factor: serde_json::Number,
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    #[schema(value_type = Option<String>, example = "48h")]
    expires_in: Option<Span>,
    /// A note for the audit trail.
    why: Option<String>,
}

impl CreateBoost {
    fn read(self) -> Result<NewBoost, Problem> {
        let invalid = |fault: String| Problem::new(Reason::InputInvalid).detail(fault);
        let of = match (self.app, self.key) {
            (Some(app), None) => BoostOf::App(app),
            (None, Some(key)) => BoostOf::Key(key),
            _ => return Err(invalid("a boost is for an app or for a key".to_owned())),
        };
        let end = match (self.until, self.expires_in) {
            (Some(until), None) => BoostEnd::At(until),
            (None, Some(span)) => BoostEnd::In(span.0),
            _ => return Err(invalid("a boost has until or expires_in".to_owned())),
        };
        let factor: Factor = self
            .factor
            .to_string()
            .parse()
            .map_err(|error| invalid(format!("factor: {error}")))?;
        Ok(NewBoost {
            of,
            limit: self.limit,
            factor,
            end,
            why: self.why,
        })
    }
}

/// Raises the limits of an App, or of one of its keys, by a factor until a date.
#[utoipa::path(
    post, path = "/api/v1/limits/boosts", tag = "limits", operation_id = "create_boost",
    request_body = CreateBoost, responses((status = 201, body = ChangedBoostView))
)]
pub async fn create(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Body(body): Body<CreateBoost>,
) -> Result<(StatusCode, Json<ChangedBoostView>), Problem> {
    let added = state.control.add_boost(&actor, body.read()?).await?;
    Ok((StatusCode::CREATED, Json(added.into())))
}
