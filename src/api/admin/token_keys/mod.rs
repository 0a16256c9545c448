//! The keys that sign access tokens.

pub mod view;
pub mod list;
pub mod rotate;
