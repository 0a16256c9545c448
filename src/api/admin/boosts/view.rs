//! Boosts as operators see them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::admin::receipt::ReceiptView;
use crate::control::boosts::BoostOfApp;
use crate::control::publish::Changed;
use crate::domain::id::{AppId, BoostId, KeyId};
use crate::domain::name::Name;
use crate::domain::time::Timestamp;

/// A boost as operators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Boost)]
pub struct BoostView {
    #[schema(value_type = String, example = "bst_01j9z3k4m5n6p7q8r9s0t1v2w3")]
    id: BoostId,
    #[schema(value_type = String)]
    app: AppId,
    /// The only key that it is for; `null` for the whole App.
    #[schema(value_type = Option<String>)]
    key: Option<KeyId>,
    /// The only limit that it raises; `null` for all that count the App, its keys or its users.
    #[schema(value_type = Option<String>)]
    limit: Option<Name>,
    /// The factor by which the limits are raised.
    #[schema(example = 3.0)]
    factor: f64,
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// A boost after a change, and the proof that the change is in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChangedBoost)]
pub struct ChangedBoostView {
    boost: BoostView,
    receipt: ReceiptView,
}

impl From<BoostOfApp> for BoostView {
    fn from(of: BoostOfApp) -> Self {
        let boost = of.boost;
        Self {
            id: boost.id,
            app: of.app,
            key: boost.key,
            limit: boost.limit,
            factor: f64::from(boost.factor.hundredths()) / 100.0,
            until: boost.until,
            created_at: boost.created_at,
        }
    }
}

impl From<Changed<BoostOfApp>> for ChangedBoostView {
    fn from(changed: Changed<BoostOfApp>) -> Self {
        Self {
            boost: changed.value.into(),
            receipt: changed.receipt.into(),
        }
    }
}
