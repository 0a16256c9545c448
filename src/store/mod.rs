//! The persistent data: the registry and its audit trail, behind one trait.

pub mod repository;
pub mod act;
pub mod error;
pub mod measured;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "tickets are swept; nothing puts or takes one yet")
)]
pub mod tickets;

pub mod sqlite;

#[cfg(test)]
pub mod contract;
#[cfg(test)]
mod ticket_contract;
#[cfg(test)]
pub mod faulty;
