//! The persistent data: the registry and its audit trail, behind one trait.

pub mod repository;
pub mod change;
pub mod error;
pub mod measured;

pub mod sqlite;

#[cfg(test)]
mod contract;
