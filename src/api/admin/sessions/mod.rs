//! Sessions of users.

pub mod view;
pub mod list;
pub mod get;
pub mod revoke;
