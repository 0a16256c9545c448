//! The grants, one file for each.

mod client_credentials;
mod scopes;
