//! `PATCH /api/v1/apps/{app}`

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::view::ChangedAppView;
use crate::api::admin::authenticate::Operator;
use crate::api::admin::body::Body;
use crate::api::admin::state::AdminState;
use crate::api::problem::Problem;
use crate::control::app_settings::AppPatch;
use crate::domain::api_key::Environment;
use crate::domain::app_settings::{AccessTokenFormat, Binding, Mtls, SecureMode};
use crate::domain::patch::Patch;
use crate::domain::token::ClientAuthMethod;

/// The fields of an App to be changed. A field that is left out stays as it is; one that is `null` gets its default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetApp {
    /// The contact for this App: a text, or a list of texts, of 200 characters in all.
    #[schema(value_type = Option<String>, max_length = 200)]
    #[serde(default)]
    contact: Patch<Contact>,
    /// `live` or `test`. A test App gets test keys only.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    environment: Patch<Environment>,
    /// The methods of client authentication that this App may use: `client_secret_basic`, `client_secret_post`,
    /// `tls_client_auth`, `self_signed_tls_client_auth`, `private_key_jwt`. Those of `tokens.client_auth` by default.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(default)]
    auth_methods: Patch<Vec<ClientAuthMethod>>,
    /// `off`, `optional`, `token_endpoint` or `always`: where the App has to show a certificate.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    mtls: Patch<Mtls>,
    /// `required` or `off`, which is for test Apps only.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    secure_mode: Patch<SecureMode>,
    /// `thumbprint`, `app` or `none`: the certificates that a token counts with that was minted over mTLS. `dpop`: each
    /// token is bound to the key of a DPoP proof, and no certificate.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    binding: Patch<Binding>,
    /// The public keys by which the App signs: a JWK set (RFC 7517) of at most 64 KiB and 32 keys, each RSA of 2048 to
    /// 8192 bits, P-256, P-384 or Ed25519.
    #[schema(value_type = Option<Object>)]
    #[serde(default)]
    jwks: Patch<Value>,
    /// The `https` URL of such a set, instead of the set itself. It is fetched when it is set, and every 5 minutes.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    jwks_url: Patch<String>,
    /// The `https` URLs that notices to this App may go to, compared as they stand; at most 16.
    #[schema(value_type = Option<Vec<String>>, max_items = 16)]
    #[serde(default)]
    callbacks: Patch<Vec<String>>,
    /// The App's valid certificates at most, from 1 to 100; `authority.profile.active_max` by default.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100)]
    #[serde(default)]
    certificates_max: Patch<u32>,
    /// The App's live keys at most, from 1 to 1000; 20 by default.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    #[serde(default)]
    keys_max: Patch<u32>,
    /// `jwt`, or `opaque`: tokens that only the gateway can read.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    access_token_format: Patch<AccessTokenFormat>,
    /// True to make a change that stops what works now. Without it, such a change is refused with
    /// `confirmation_needed`, and `affected` has the methods of the last 30 days that would fail.
    #[serde(default)]
    confirm: bool,
}

/// One contact, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a contact is a text or a list of texts")]
enum Contact {
    One(String),
    Several(Vec<String>),
}

impl From<Contact> for String {
    fn from(contact: Contact) -> Self {
        match contact {
            Contact::One(text) => text,
            Contact::Several(texts) => texts.join(", "),
        }
    }
}

impl From<SetApp> for AppPatch {
    fn from(set: SetApp) -> Self {
        Self {
            contact: set.contact.map(String::from),
            environment: set.environment,
            auth_methods: set.auth_methods,
            mtls: set.mtls,
            secure_mode: set.secure_mode,
            binding: set.binding,
            jwks: set.jwks,
            jwks_url: set.jwks_url,
            callbacks: set.callbacks,
            certificates_max: set.certificates_max,
            keys_max: set.keys_max,
            access_token_format: set.access_token_format,
        }
    }
}

/// Changes the settings of an App: the fields that the body names.
#[utoipa::path(
    patch, path = "/api/v1/apps/{app}", tag = "apps", operation_id = "set_app",
    params(("app" = String, Path, description = "The App's id or name.")),
    request_body = SetApp, responses((status = 200, body = ChangedAppView))
)]
pub async fn set(
    State(state): State<AdminState>,
    Operator(actor): Operator,
    Path(app): Path<String>,
    Body(set): Body<SetApp>,
) -> Result<Json<ChangedAppView>, Problem> {
    let confirmed = set.confirm;
    let set = state.control.set_app(&actor, &app, set.into(), confirmed);
    let changed = set.await?;
    Ok(Json(changed.into()))
}
