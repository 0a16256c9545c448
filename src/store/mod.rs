//! The persistent data: the registry and its audit trail, behind one trait.

pub mod repository;
pub mod act;
pub mod sessions;
pub mod error;
pub mod measured;
pub mod tickets;

pub mod sqlite;

#[cfg(test)]
pub mod contract;
#[cfg(test)]
mod ticket_contract;
#[cfg(test)]
mod session_contract;
#[cfg(test)]
pub mod faulty;
