//! Apps as operators see them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::admin::receipt::ReceiptView;
use crate::control::publish::Changed;
use crate::domain::app::{App, AppState};
use crate::domain::id::AppId;
use crate::domain::name::Name;
use crate::domain::time::Timestamp;

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
        Self {
            id: app.id,
            name: app.name,
            state: app.state,
            contact: app.contact,
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
