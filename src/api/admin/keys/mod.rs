//! API keys.

pub mod view;
pub mod create;
pub mod import;
pub mod identify;
pub mod list;
pub mod get;
pub mod rotate;
pub mod revoke;
