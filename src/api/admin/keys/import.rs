//! `POST /api/v1/keys/import`

use axum::Json;
use axum::extract::State;
use data_encoding::HEXLOWER_PERMISSIVE;
use http::StatusCode;
use ipnet::IpNet;
use serde::Deserialize;
use utoipa::ToSchema;

use super::create::{CreateKey, NewKeyKind, NewKeyLimit};
use super::view::ChangedKeyView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::Body;
use crate::api::admin::span::Span;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::api_key::{DigestKind, Environment, SecretDigest};
use crate::domain::name::Name;
use crate::domain::origin::OriginPattern;
use crate::domain::reason::Reason;
use crate::domain::scope::ScopeSet;

/// A key that another system made. Its holder goes on showing the text that this system gave it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportKey {
    /// `sha256`, or `hmac-sha256` under the secret that is `keys.pepper` here.
    #[schema(value_type = String)]
    algorithm: Algorithm,
    /// The digest of the key's text, in 64 hexadecimal digits.
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    digest: String,
    /// The App's id or name.
    app: String,
    /// `default` when absent.
    #[schema(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9._-]{0,29}$")]
    name: Option<Name>,
    /// `secret` or `publishable`; `secret` when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    kind: NewKeyKind,
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
    /// The origins whose pages may use a publishable key; no condition when empty.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    origins: Vec<OriginPattern>,
    /// Limits of the key, as a new key has them.
    #[serde(default)]
    limits: Vec<NewKeyLimit>,
    /// Never, when absent.
    #[schema(value_type = Option<String>, example = "90d")]
    expires_in: Option<Span>,
}

/// The algorithm of a digest.
#[derive(Clone, Copy, Debug, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "sha256")]
    Sha256,
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
}

impl From<Algorithm> for DigestKind {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256,
            Algorithm::HmacSha256 => Self::HmacSha256,
        }
    }
}

impl ImportKey {
    fn digest(&self) -> Result<SecretDigest, Problem> {
        let decoded = HEXLOWER_PERMISSIVE.decode(self.digest.as_bytes()).ok();
        let digest = decoded.and_then(|bytes| bytes.try_into().ok());
        digest.map(SecretDigest).ok_or_else(|| {
            Problem::new(Reason::InputInvalid).detail("a digest is 64 hexadecimal digits")
        })
    }

    fn key(self) -> CreateKey {
        CreateKey {
            app: self.app,
            name: self.name,
            kind: self.kind,
            environment: self.environment,
            scopes: self.scopes,
            networks: self.networks,
            origins: self.origins,
            limits: self.limits,
            expires_in: self.expires_in,
        }
    }
}

/// Imports a key that another system made, by its digest: its holder goes on showing the same text.
#[utoipa::path(
    post, path = "/api/v1/keys/import", tag = "keys", operation_id = "import_key",
    request_body = ImportKey, responses((status = 201, body = ChangedKeyView))
)]
pub async fn import(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Body(body): Body<ImportKey>,
) -> Result<(StatusCode, Json<ChangedKeyView>), Problem> {
    let (kind, digest) = (body.algorithm.into(), body.digest()?);
    let new = body.key().read()?;
    let imported = state.control.import_key(&actor, new, kind, digest).await?;
    Ok((StatusCode::CREATED, Json(imported.into())))
}
