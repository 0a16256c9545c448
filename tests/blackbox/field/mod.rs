//! Ordinary clients, files and operators: what is harmless is served, and what is refused says its true cause.

mod files;
mod requests;
mod early_answers;
mod refused_handshakes;
mod draining;
mod running_streams;
mod directories;
mod log_lines;
mod tls_reload;
mod handshake_failures;
mod own_certificate;
mod listening;
mod missing_credentials;
mod token_requests;
mod kept_connections;
