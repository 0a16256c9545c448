//! The control plane: the registry, its changes with their authors, and their publication to the data plane.
//!
//! Every change takes one way, [`publish::Publisher::commit`]. One writer takes the changes that wait, decides each over
//! the ones before it, and stores them together, each with its audit event. Then it sends the data plane a snapshot with
//! the changes, and each waits for the receipt.

pub mod error;
pub mod publish;
mod writer;
mod draft;
mod waiting_ends;
pub mod service;
pub mod apps;
pub mod fetch;
mod discovery;
pub mod published_keys;
pub mod app_settings;
pub mod client_uses;
pub mod certificates;
pub mod identify;
mod key_texts;
pub mod key_uses;
pub mod last_uses;
pub mod keys;
pub mod admins;
pub mod audit;
pub mod counts;
mod gauges;
pub mod metrics;
pub mod tokens;
pub mod boosts;
pub mod sessions;
pub mod token_keys;
pub mod key_ring;
pub mod retired_key;
pub mod authority;
pub mod server_certificates;
pub mod calendar;
pub mod jobs;

#[cfg(test)]
mod writer_tests;
#[cfg(test)]
mod endings_tests;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
pub mod testing_edges;
