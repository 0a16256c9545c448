//! Boosts: limits of Apps that are raised until a date.

pub mod view;
pub mod create;
pub mod list;
pub mod end;
