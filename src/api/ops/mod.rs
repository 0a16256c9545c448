//! What monitors ask: metrics and health, on a listener of its own.

pub mod health;
pub mod router;
