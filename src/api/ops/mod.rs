//! Metrics and health for monitors, on a separate listener.

pub mod health;
pub mod router;
