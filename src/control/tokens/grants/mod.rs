//! The grants, one file for each.

mod scopes;
mod assertion;
mod client_credentials;
mod foreign;
mod narrow;
mod vouch;
pub(super) mod login;
mod refresh;
