//! The record of an exchange, and the metrics.

pub mod metrics;
pub mod app_metrics;
pub mod record;
pub mod ledger;
