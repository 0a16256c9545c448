//! The data plane: the way of a connection and of a request. Floors from the ground up; a folder imports those above it
//! in this list.

pub mod codec;
pub mod counters;
pub mod settings;
pub mod panics;
pub mod messages;
pub mod fields;
pub mod identity_headers;
pub mod report;
pub mod connections;
pub mod intake;
pub mod upstream;
pub mod bodies;
pub mod downstream;
pub mod credentials;
pub mod local;
pub mod generations;
pub mod worker;
pub mod serve;
pub mod walk;
pub mod plane;

#[cfg(test)]
mod tests;
