//! The audit trail.

pub mod view;
pub mod list;
