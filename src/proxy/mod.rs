//! The data plane: the way of a connection and of a request, declared in the order of the walk.

pub mod connection;
pub mod exchange;
pub mod admit;
pub mod read;
pub mod identify;
pub mod authorize;
pub mod limit;
pub mod prepare;
pub mod forward;
pub mod respond;

pub mod messages;
pub mod fields;
pub mod identity_headers;
pub mod bodies;
pub mod local;
pub mod deliver;
pub mod codec;
pub mod downstream;
pub mod tcp;
pub mod upstream;
pub mod counters;
pub mod verifier;

pub mod plane;
pub mod worker;
pub mod intake;
pub mod serve;
pub mod panics;
pub mod connections;
pub mod report;
pub mod settings;

#[cfg(test)]
mod tests;
