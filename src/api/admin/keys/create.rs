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
use crate::domain::api_key::{Environment, KeyKind, KeyLimit};
use crate::domain::limit::Measure;
use crate::domain::name::Name;
use crate::domain::origin::OriginPattern;
use crate::domain::quota::Quota;
use crate::domain::rate::Rate;
use crate::domain::reason::Reason;
use crate::domain::scope::ScopeSet;

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// The App's id or name.
    pub(super) app: String,
    /// `default` when absent.
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9._-]{0,29}$")]
    pub(super) name: Option<Name>,
    /// `secret`, `publishable` or `signing`; `secret` when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(super) kind: NewKeyKind,
    /// `live` or `test`; `live` when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub(super) environment: Environment,
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["orders:read"]))]
    pub(super) scopes: ScopeSet,
    /// The networks that may use the key; all when empty.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["192.0.2.0/24"]))]
    pub(super) networks: Vec<IpNet>,
    /// The origins whose pages may use a publishable key: `https://shop.example`, `https://*.shop.example` for one
    /// label, `*` for all. Without an origin there is no condition, and no page of another site reads an answer.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["https://shop.example"]))]
    pub(super) origins: Vec<OriginPattern>,
    /// Limits of the key. On routes with a limit of the same name, the key's limit takes its place; one whose name no
    /// route has counts all requests of the key.
    #[serde(default)]
    pub(super) limits: Vec<NewKeyLimit>,
    /// Never, when absent.
    #[schema(value_type = Option<String>, example = "90d")]
    pub(super) expires_in: Option<Span>,
}

/// The kind of a new key.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewKeyKind {
    #[default]
    Secret,
    Publishable,
    Signing,
}

impl From<NewKeyKind> for KeyKind {
    fn from(kind: NewKeyKind) -> Self {
        match kind {
            NewKeyKind::Secret => Self::Secret,
            NewKeyKind::Publishable => Self::Publishable,
            NewKeyKind::Signing => Self::Signing,
        }
    }
}

/// A limit of a new key.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyLimit {
    #[schema(value_type = String)]
    name: Name,
    /// Requests per time. A limit has a rate or a quota.
    #[schema(example = "1000/m")]
    rate: Option<String>,
    /// Requests in each hour or day, UTC.
    #[schema(example = "10000/d")]
    quota: Option<String>,
    /// The requests that are allowed at once after a quiet period; the rate's count when absent.
    #[schema(minimum = 1)]
    burst: Option<u32>,
}

impl NewKeyLimit {
    fn read(self) -> Result<KeyLimit, Problem> {
        let invalid = |fault: String| Problem::new(Reason::InputInvalid).detail(fault);
        let measure = match (self.rate, self.quota, self.burst) {
            (Some(rate), None, burst) => {
                let rate = Rate::parse(&rate).map_err(|error| invalid(error.to_string()))?;
                let burst = burst.unwrap_or(rate.burst);
                Measure::Rate(Rate { burst, ..rate })
            }
            (None, Some(quota), None) => {
                let quota = Quota::parse(&quota).map_err(|error| invalid(error.to_string()))?;
                Measure::Quota(quota)
            }
            (None, Some(_), Some(_)) => {
                return Err(invalid("a quota has no burst".to_owned()));
            }
            (Some(_), Some(_), _) | (None, None, _) => {
                return Err(invalid("a limit has a rate or a quota".to_owned()));
            }
        };
        if self.burst == Some(0) {
            return Err(invalid("a limit's burst is at least 1".to_owned()));
        }
        Ok(KeyLimit {
            name: self.name,
            measure,
        })
    }
}

impl CreateKey {
    /// The key as the control plane makes it.
    pub(super) fn read(self) -> Result<NewKey, Problem> {
        let name = match self.name {
            Some(name) => name,
            None => "default"
                .parse()
                .map_err(|error| Problem::new(Reason::Internal).because(error))?,
        };
        let limits: Result<Vec<_>, _> = self.limits.into_iter().map(NewKeyLimit::read).collect();
        Ok(NewKey {
            app: self.app,
            name,
            kind: self.kind.into(),
            environment: self.environment,
            scopes: self.scopes,
            networks: self.networks,
            origins: self.origins,
            limits: limits?,
            expires_in: self.expires_in.map(|span| span.0),
        })
    }
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
    let new = key.read()?;
    let created = state.control.create_key(&actor, new).await?;
    Ok((StatusCode::CREATED, Json(created.into())))
}
