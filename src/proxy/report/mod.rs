//! The record of an exchange, and the metrics.

pub mod closing;
pub mod families;
pub mod metrics;
pub mod worker_metrics;
pub mod app_metrics;
pub mod record;
pub mod key_uses;
pub mod ledger;
