//! The parts of `countersign status` that come from a configuration and from certificates.

use crate::api::admin::operations::{End, StatusUpstream};
use crate::config::root::Config;
use crate::crypto::authority::Authority;
use crate::domain::time::Timestamp;

/// The ends of the authority and of the server's certificates.
pub fn ends(authority: &Authority, served: &[(String, Timestamp)]) -> Vec<End> {
    let (root, issuing) = authority.ends();
    let of_authority = [("root".to_owned(), root), ("issuing".to_owned(), issuing)];
    let of_server = served
        .iter()
        .map(|(name, not_after)| (format!("server {name}"), *not_after));
    let all = of_authority.into_iter().chain(of_server);
    all.map(|(certificate, not_after)| End {
        certificate,
        not_after,
    })
    .collect()
}

/// The upstreams of a configuration, with their configured endpoints.
pub fn upstreams(config: &Config) -> Vec<StatusUpstream> {
    let written = config.upstreams.iter().map(|(name, upstream)| {
        let endpoints = serde_json::to_value(&upstream.endpoints).unwrap_or_default();
        let endpoints = endpoints.as_array().into_iter().flatten();
        StatusUpstream {
            name: name.to_string(),
            endpoints: endpoints
                .map(|endpoint| {
                    endpoint
                        .as_str()
                        .map_or_else(|| endpoint.to_string(), str::to_owned)
                })
                .collect(),
        }
    });
    written.collect()
}
