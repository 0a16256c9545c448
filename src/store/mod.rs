//! The persistent data: the registry and its audit trail, behind one trait.

pub mod repository;
pub mod act;
pub mod error;
pub mod measured;

pub mod sqlite;

#[cfg(test)]
pub mod contract;
#[cfg(test)]
pub mod faulty;
