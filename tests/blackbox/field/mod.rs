//! Ordinary clients, files and operators: what is harmless is served, and what is refused says its true cause.

mod files;
mod requests;
mod token_requests;
