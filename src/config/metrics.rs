//! Optional metrics for Prometheus.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::name::Name;

/// Optional metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    pub apps: AppSeries,
}

/// Requests by App, in `countersign_app_requests_total`: five series for each App.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AppSeries {
    /// The Apps with their own series: `off` for none, `listed` for those in `names`, `first` for the first `max` Apps
    /// that call. All other Apps are counted together as `_other`.
    pub label: AppLabel,
    /// The names of the Apps for `listed`.
    #[schemars(with = "Vec<String>")]
    pub names: Vec<Name>,
    /// The number of Apps for `first`.
    pub max: u32,
}

/// The Apps with their own series.
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
