//! The command line: one file per command.
//!
//! Every command is a struct of arguments with a `run`; what they share is below them.

pub mod entry;
mod args;
mod global;

mod serve;
mod demo;
mod config;
mod app;
mod app_set;
mod cert;
mod key;
mod key_scan;
mod csr;
mod audit;
mod admin_token;
mod token_key;
mod limit;
mod session;
mod user;
mod store;
mod reload;
mod drain;
mod status;
mod completions;
mod man;

mod client;
mod listing;
mod app_names;
mod confirm;
mod duration;
mod files;
mod new_file;
mod output;
mod plain;
mod exit;
