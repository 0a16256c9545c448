//! Keys as operators see them; the secret is shown once, where it is made.

use ipnet::IpNet;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::admin::receipt::ReceiptView;
use crate::control::publish::Changed;
use crate::domain::api_key::{ApiKey, Environment};
use crate::domain::credential::{CredentialState, RevocationReason};
use crate::domain::id::{AppId, KeyId};
use crate::domain::name::Name;
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
    /// `live` or `test`.
    #[schema(value_type = String)]
    environment: Environment,
    #[schema(value_type = Vec<String>)]
    scopes: ScopeSet,
    /// The networks that may use the key; all when empty.
    #[schema(value_type = Vec<String>)]
    networks: Vec<IpNet>,
    /// `active`, `retiring`, `revoked` or `expired`.
    #[schema(value_type = String)]
    state: CredentialState,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    revocation_reason: Option<RevocationReason>,
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
        Self {
            id: key.id,
            app: key.app,
            name: key.name,
            environment: key.environment,
            scopes: key.scopes,
            networks: key.networks,
            state: key.state,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            revocation_reason: key.revocation_reason,
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
