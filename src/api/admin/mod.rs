//! The admin API: one file per operation, below a folder per noun.

pub mod state;
pub mod operations;
pub mod authenticate;
pub mod failures;
pub mod body;
pub mod query;
pub mod span;
pub mod list;
pub mod receipt;
pub mod router;
pub mod apps;
pub mod certificates;
pub mod csr;
pub mod keys;
pub mod admin_tokens;
pub mod token_keys;
pub mod boosts;
pub mod sessions;
pub mod users;
pub mod audit;
pub mod gateway;

#[cfg(test)]
mod tests;
