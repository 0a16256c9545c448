//! Admin tokens.

pub mod view;
pub mod create;
pub mod list;
pub mod revoke;
