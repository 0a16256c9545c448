//! The gateway seen from outside: the real process, real TLS, real sockets, real files, real signals.
//!
//! Read in order, the tests are the specification.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says why"
)]

mod support;

mod handshake;
mod headers;
mod identity_headers;
mod hops;
mod routing;
mod policy;
mod tokens;
mod apps;
mod issuers;
mod users;
mod token_rows;
mod dpop;
mod opaque_tokens;
mod fapi2;
mod token_confusion;
mod rotation_under_load;
mod oauth_clients;
mod keys;
mod key_kinds;
mod leaked_keys;
mod key_rotation;
mod pages;
mod imported_keys;
mod device_keys;
mod published_rows;
mod signed_requests;
mod signature_clients;
mod enrolment;
mod authority;
mod revocation;
mod forwarding;
mod upstreams;
mod streams;
mod smuggling;
mod hardening;
mod limits;
mod reload;
mod reloads;
mod drain;
mod drain_order;
mod drain_running;
mod drain_deadline;
mod quotas;
mod restart;
mod workers;
mod tcp;
mod operations;
mod open_files;
mod admin_api;
mod cli;
mod demo;
mod deploy;
mod readme;
mod field;
