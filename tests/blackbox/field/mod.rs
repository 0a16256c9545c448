//! Ordinary clients, files and operators: what is harmless is served, and what is refused says its true cause.

use crate::support::client::Answer;
use crate::support::gateway::Gateway;

mod files;
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
mod log_lines;
mod tls_reload;
mod handshake_failures;
mod own_certificate;
mod listening;
mod missing_credentials;
mod token_requests;
mod kept_connections;
mod paths;
mod queries;
mod field_names;
mod upgrades;
mod credentials;
mod hosts;
mod cookies;
mod request_ids;
mod grpc;

/// The values of a field as the upstream saw them.
fn seen(answer: &Answer, name: &str) -> Vec<String> {
    let told = answer.json();
    let fields = told["headers"].as_array().unwrap();
    let named = fields
        .iter()
        .filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name));
    named
        .map(|pair| pair[1].as_str().unwrap().to_owned())
        .collect()
}

/// The answer to these bytes.
fn sent_as(gateway: &Gateway, bytes: &str) -> Answer {
    let mut connection = gateway.stranger().connect();
    connection.send(bytes.as_bytes());
    connection.answer()
}
mod clients;
mod early_upstreams;
mod upstream_answers;
mod upstream_failures;
mod pinned_upstreams;
