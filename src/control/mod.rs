//! The control plane: the registry, its changes with their authors, and their publication to the data plane.
//!
//! Every change takes one way, [`publish::Publisher::commit`]: read, decide and store under one lock, together with the
//! audit event; then send the data plane a snapshot with the changes, and wait for its receipt.

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
