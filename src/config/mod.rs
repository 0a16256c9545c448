//! The operator's words: one YAML file, the environment and flags, read into plain structs.
//!
//! Two shapes, no more: what was written (the sections here) and what is used (`domain` values, made in
//! [`catalog`], and each room's own settings, made by the daemon).

pub mod root;
pub mod field_name;
pub mod listeners;
pub mod tls;
pub mod authority;
pub mod host_name;
pub mod ambiguous_paths;
pub mod upgrades;
pub mod hosts;
pub mod identity_headers;
pub mod upstreams;
pub mod tcp;
pub mod tokens;
pub mod signatures;
pub mod issuers;
pub mod store;
pub mod logs;
pub mod metrics;
pub mod limits;

pub mod text;
pub mod span;
pub mod size;
pub mod rate;
pub mod quota;
pub mod address;
pub mod secret;
pub mod file;

pub mod load;
pub mod places;
pub mod path;
pub mod document;
pub mod overlay;
pub mod kubernetes;
pub mod decode;
pub mod fetch;
pub mod check;
pub mod problem;
pub mod parts;
pub mod catalog;

pub mod schema;
pub mod annotate;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
