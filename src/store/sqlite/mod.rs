//! The store in one SQLite file, for gateways that run alone.

pub mod backend;
pub mod copy;

mod changes;
mod apps;
mod certificates;
mod key_uses;
mod quota_uses;
mod keys;
mod admin_tokens;
mod audit;
mod tickets;
mod sessions;
mod token_ends;

mod table;
mod filter;

mod file;
mod early;
mod migrate;
mod pool;
mod grouped;
mod probe;
mod error;

#[cfg(test)]
mod tests;
