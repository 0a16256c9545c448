//! API keys.

pub mod view;
pub mod create;
pub mod list;
pub mod get;
pub mod rotate;
pub mod revoke;
