//! Problems that span keys and sections, all at once.

pub mod whole;
pub mod findings;
pub mod listeners;
pub mod routes;
pub mod identity_headers;
pub mod upstreams;
pub mod tcp;
pub mod tls;
pub mod services;
pub mod issuers;
pub mod metrics;
