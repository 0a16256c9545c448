//! Apps as operators see them.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::admin::receipt::ReceiptView;
use crate::control::publish::Changed;
use crate::domain::api_key::Environment;
use crate::domain::app::{App, AppState};
use crate::domain::app_settings::{AccessTokenFormat, Binding, ClientKeys, Mtls, SecureMode};
use crate::domain::id::AppId;
use crate::domain::name::Name;
use crate::domain::time::Timestamp;
use crate::domain::token::ClientAuthMethods;

/// An App as operators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = App)]
pub struct AppView {
    #[schema(value_type = String, example = "app_01j9z3k4m5n6p7q8r9s0t1v2w3")]
    id: AppId,
    #[schema(value_type = String)]
    name: Name,
    /// `active`, `suspended` or `revoked`.
    #[schema(value_type = String)]
    state: AppState,
    contact: Option<String>,
    /// `live` or `test`.
    #[schema(value_type = String)]
    environment: Environment,
    /// The methods of client authentication of this App; `null` for all of `tokens.client_auth`.
    auth_methods: Option<Vec<&'static str>>,
    /// `off`, `optional`, `token_endpoint` or `always`.
    #[schema(value_type = String)]
    mtls: Mtls,
    /// `required` or `off`.
    #[schema(value_type = String)]
    secure_mode: SecureMode,
    /// `thumbprint`, `app`, `dpop` or `none`.
    #[schema(value_type = String)]
    binding: Binding,
    /// The App's public keys, a JWK set.
    #[schema(value_type = Option<Object>)]
    jwks: Option<Value>,
    /// The URL of the App's public keys.
    jwks_url: Option<String>,
    callbacks: Vec<String>,
    /// The App's valid certificates at most; `null` for `authority.profile.active_max`.
    certificates_max: Option<u32>,
    /// The App's live keys at most.
    keys_max: u32,
    /// `jwt` or `opaque`.
    #[schema(value_type = String)]
    access_token_format: AccessTokenFormat,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// An App after a change, and the proof that the change is in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChangedApp)]
pub struct ChangedAppView {
    app: AppView,
    receipt: ReceiptView,
}

impl From<App> for AppView {
    fn from(app: App) -> Self {
        let settings = app.settings;
        let keys = settings.keys.as_ref();
        Self {
            id: app.id,
            name: app.name,
            state: app.state,
            contact: app.contact,
            environment: settings.environment,
            auth_methods: settings.auth_methods.as_ref().map(ClientAuthMethods::names),
            mtls: settings.mtls,
            secure_mode: settings.secure_mode,
            binding: settings.binding,
            // What is stored has been read once already.
            jwks: keys
                .and_then(ClientKeys::inline)
                .and_then(|text| serde_json::from_str(text).ok()),
            jwks_url: keys.and_then(ClientKeys::url).map(str::to_owned),
            callbacks: settings.callbacks.iter().map(ToString::to_string).collect(),
            certificates_max: settings.certificates_max,
            keys_max: settings.keys_max(),
            access_token_format: settings.access_token_format,
            created_at: app.created_at,
        }
    }
}

impl From<Changed<App>> for ChangedAppView {
    fn from(changed: Changed<App>) -> Self {
        Self {
            app: changed.value.into(),
            receipt: changed.receipt.into(),
        }
    }
}
