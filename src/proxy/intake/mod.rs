//! The way in: a socket is accepted, given to a worker, and made a TLS connection.

pub mod inlet;
pub mod handover;
pub mod accept;
pub mod handshake;
pub mod handshake_failure;
