//! The gateway's own endpoints for partners, on their port: tokens, keys, metadata and whoami.

pub mod answer;
pub mod service;
pub mod form;
pub mod client_auth;
pub mod cors;
pub mod oauth;
pub mod grants;
pub mod metrics;
pub mod token;
pub mod introspect;
pub mod revoke;
pub mod jwks;
pub mod keys;
pub mod metadata;
pub mod whoami;
pub mod ca_pem;
pub mod table;

#[cfg(test)]
mod tests;
