//! The grants, one file for each.

mod scopes;
mod assertion;
mod client_credentials;
mod narrow;
mod vouch;
pub(super) mod login;
mod refresh;
