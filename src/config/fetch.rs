//! Reads every file and secret that a configuration names, and what the kernel offers.

use std::path::Path;

use super::file::{ReadError, Surroundings, read_text};
use super::path::YamlPath;
use super::problem::Finding;
use super::root::Config;

/// Reads them all, and tells of each that cannot be read.
pub fn fetch(config: &mut Config, surroundings: &Surroundings<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |path: YamlPath, outcome: Result<(), ReadError>| {
        if let Err(error) = outcome {
            findings.push(Finding::new(path, error.to_string()));
        }
    };
    let certificates = YamlPath::root().key("tls").key("certificates");
    for (index, certificate) in config.tls.certificates.iter_mut().enumerate() {
        let path = certificates.index(index);
        note(path.key("cert"), certificate.cert.fetch(surroundings));
        note(path.key("key"), certificate.key.fetch_pem(surroundings));
    }
    for (name, upstream) in &mut config.upstreams {
        let path = YamlPath::root().key("upstreams").key(name).key("tls");
        let tls = &mut upstream.tls;
        for (key, file) in [("ca", &mut tls.ca), ("client_cert", &mut tls.client_cert)] {
            if let Some(file) = file {
                note(path.key(key), file.fetch(surroundings));
            }
        }
        if let Some(key) = &mut tls.client_key {
            note(path.key("client_key"), key.fetch_pem(surroundings));
        }
    }
    for (name, issuer) in &mut config.issuers {
        let path = YamlPath::root().key("issuers").key(name).key("keys");
        if let Some(file) = &mut issuer.keys.jwks {
            note(path.key("jwks"), file.0.fetch(surroundings));
        }
        if let Some(secret) = &mut issuer.keys.secret {
            note(path.key("secret"), secret.fetch(surroundings));
        }
    }
    let keys = &mut config.keys;
    for (name, secret) in [
        ("pepper", &mut keys.pepper),
        ("sealing_key", &mut keys.sealing_key),
    ] {
        if let Some(secret) = secret {
            let path = YamlPath::root().key("keys").key(name);
            note(path, secret.fetch(surroundings));
        }
    }
    findings
}

/// The names of the congestion controls that this machine's kernel has loaded; `None` where it does not say.
pub fn congestion_controls() -> Option<String> {
    let path = Path::new("/proc/sys/net/ipv4/tcp_available_congestion_control");
    read_text(path, 4096).ok().flatten()
}
