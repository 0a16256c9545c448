//! Ordinary clients, files and operators: what is harmless is served, and what is refused says its true cause.

mod requests;
mod early_answers;
mod refused_handshakes;
mod draining;
mod running_streams;
mod directories;
mod output_files;
mod broken_file;
mod empty_file;
mod service_variables;
mod full_disk;
mod first_hours;
