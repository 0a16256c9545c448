//! Countersign: an mTLS gateway that signs its partners' certificates and enforces them.
//!
//! The rooms, from the lowest up. Imports point down only; `tests/architecture` checks it. The crate exports [`cli`]
//! alone, so the compiler finds dead code everywhere else. A build for fuzzing exports the room of properties as well.

mod domain;

mod config;
mod crypto;
mod net;
mod store;
mod telemetry;

mod control;
mod proxy;

mod api;

mod daemon;

pub mod cli;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
