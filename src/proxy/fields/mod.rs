//! The rules for header fields: what passes, what is removed, and what is added about the way.

pub mod headers;
pub mod odd_names;
pub mod cors;
pub mod own_credentials;
pub mod forwarding;
pub mod protocols;
pub mod grpc;
