//! The grants, one file for each.

mod scopes;
mod client_credentials;
mod narrow;
mod vouch;
mod login;
mod refresh;
