//! Client certificates.

pub mod view;
pub mod sign;
pub mod list;
pub mod get;
pub mod revoke;
