//! What an exchange leaves behind: its record, and the metrics.

pub mod metrics;
pub mod app_metrics;
pub mod record;
pub mod ledger;
