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
mod routing;
mod tokens;
mod enrolment;
mod revocation;
mod forwarding;
mod smuggling;
mod hardening;
mod limits;
mod workers;
mod operations;
mod admin_api;
mod cli;
