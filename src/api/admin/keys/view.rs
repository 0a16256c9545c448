//! Keys as operators see them; the secret is shown once, where it is made.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::admin::receipt::ReceiptView;
use crate::control::publish::Changed;
use crate::domain::api_key::{ApiKey, Environment, KeyKind, KeyLimit, KeyUse};
use crate::domain::credential::{CredentialState, RevocationReason};
use crate::domain::id::{AppId, KeyId};
use crate::domain::limit::Measure;
use crate::domain::name::Name;
use crate::domain::origin::OriginPattern;
use crate::domain::scope::ScopeSet;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;

/// A key as operators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyView {
    /// The OAuth `client_id` too.
    #[schema(value_type = String)]
    id: KeyId,
    #[schema(value_type = String)]
    app: AppId,
    #[schema(value_type = String)]
    name: Name,
    /// `secret`, `publishable` or `signing`.
    #[schema(value_type = String)]
    kind: KeyKind,
    /// `live` or `test`.
    #[schema(value_type = String)]
    environment: Environment,
    /// The beginning and the last characters of the key, by which people recognise it.
    #[schema(example = "sk_live_…abcd")]
    hint: String,
    #[schema(value_type = Vec<String>)]
    scopes: ScopeSet,
    /// The networks that may use the key; all when empty.
    #[schema(value_type = Vec<String>)]
    networks: Vec<IpNet>,
    /// The origins whose pages may use a publishable key; no condition when empty.
    #[schema(value_type = Vec<String>)]
    origins: Vec<OriginPattern>,
    /// The limits that the key has besides those of its routes.
    limits: Vec<KeyLimitView>,
    /// `active`, `retiring`, `revoked` or `expired`.
    #[schema(value_type = String)]
    state: CredentialState,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The last use, up to a few seconds ago; absent for a key that was never used.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// The address that the last use came from.
    #[schema(value_type = Option<String>)]
    last_used_from: Option<IpAddr>,
    /// The route of the last use.
    last_used_route: Option<String>,
    /// The key that takes this one's place.
    #[schema(value_type = Option<String>)]
    successor: Option<KeyId>,
    /// The end of the overlap after a rotation.
    #[schema(value_type = Option<String>, format = DateTime)]
    retires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    revocation_reason: Option<RevocationReason>,
}

/// A limit of one key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeyLimit)]
pub struct KeyLimitView {
    #[schema(value_type = String)]
    name: Name,
    /// Requests per time, for a rate.
    #[schema(example = "1000/m")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
    /// Requests in each hour or day, for a quota.
    #[schema(example = "10000/d")]
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<String>,
}

impl From<KeyLimit> for KeyLimitView {
    fn from(limit: KeyLimit) -> Self {
        let (name, text) = (limit.name, limit.measure.text());
        let (rate, burst, quota) = match limit.measure {
            Measure::Rate(rate) => (Some(text), Some(rate.burst), None),
            Measure::Quota(_) => (None, None, Some(text)),
        };
        Self {
            name,
            rate,
            burst,
            quota,
        }
    }
}

/// A key that was just made. Nobody can show the secret again.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedKey)]
pub struct CreatedKeyView {
    key: KeyView,
    /// The whole key; as `client_secret` too.
    secret: String,
    receipt: ReceiptView,
}

/// A key after a change, and the proof that the change is in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChangedKey)]
pub struct ChangedKeyView {
    key: KeyView,
    receipt: ReceiptView,
}

impl std::fmt::Debug for CreatedKeyView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedKeyView")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        let (hint, retires_at) = (key.hint().to_string(), key.retires_at());
        Self {
            id: key.id,
            app: key.app,
            name: key.name,
            kind: key.kind,
            environment: key.environment,
            hint,
            scopes: key.scopes,
            networks: key.networks,
            origins: key.origins,
            limits: key.limits.into_iter().map(Into::into).collect(),
            state: key.state,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: None,
            last_used_from: None,
            last_used_route: None,
            successor: key.successor,
            retires_at,
            revoked_at: key.revoked_at,
            revocation_reason: key.revocation_reason,
        }
    }
}

impl KeyView {
    /// A key with its last use.
    pub fn used(key: ApiKey, used: Option<KeyUse>) -> Self {
        let view = Self::from(key);
        match used {
            None => view,
            Some(used) => Self {
                last_used_at: Some(used.at),
                last_used_from: Some(used.from),
                last_used_route: Some(used.route.to_string()),
                ..view
            },
        }
    }
}

impl From<Changed<(ApiKey, Secret)>> for CreatedKeyView {
    fn from(created: Changed<(ApiKey, Secret)>) -> Self {
        let (key, secret) = created.value;
        Self {
            key: key.into(),
            secret: secret.expose().to_owned(),
            receipt: created.receipt.into(),
        }
    }
}

impl From<Changed<ApiKey>> for ChangedKeyView {
    fn from(changed: Changed<ApiKey>) -> Self {
        Self {
            key: changed.value.into(),
            receipt: changed.receipt.into(),
        }
    }
}
