//! The control plane: what is true, who changed it, and how the data plane learns of it.
//!
//! Every change takes one way, [`publish::Publisher::commit`]: read, decide and store under one lock, together
//! with the audit event; then hand the data plane a snapshot that differs in what changed, and wait for its receipt.

pub mod error;
pub mod publish;
pub mod service;
pub mod apps;
pub mod certificates;
pub mod keys;
pub mod admins;
pub mod audit;
pub mod counts;
pub mod metrics;
pub mod tokens;
pub mod token_keys;
pub mod key_ring;
pub mod retired_key;
pub mod authority;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
pub mod testing_edges;
