//! What is counted for Prometheus beside what always is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::name::Name;

/// Metrics that are counted where the operator wants them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    pub apps: AppSeries,
}

/// Requests by App, in `countersign_app_requests_total`: five series for each App.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AppSeries {
    /// Which Apps have series of their own: `off` for none, `listed` for those in `names`, `first` for as many as
    /// `max` in the order in which they first call. All others are counted together as `_other`.
    pub label: AppLabel,
    /// The names of the Apps that `listed` means.
    #[schemars(with = "Vec<String>")]
    pub names: Vec<Name>,
    /// How many Apps `first` means.
    pub max: u32,
}

/// Which Apps have series of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AppLabel {
    #[default]
    Off,
    Listed,
    First,
}

impl Default for AppSeries {
    fn default() -> Self {
        Self {
            label: AppLabel::Off,
            names: Vec::new(),
            max: 50,
        }
    }
}
