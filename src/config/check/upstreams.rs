//! Upstreams: addresses and TLS that do not go together.

use std::collections::HashSet;
use std::net::IpAddr;

use super::findings::{Findings, at};
use crate::config::path::YamlPath;
use crate::config::root::Config;
use crate::config::upstreams::Upstream;

pub fn check(config: &Config, findings: &mut Findings) {
    for (name, upstream) in &config.upstreams {
        let path = at("upstreams").key(name);
        endpoints(upstream, &path, findings);
        tls(upstream, &path.key("tls"), findings);
        pool(upstream, &path.key("pool"), findings);
        http(upstream, &path.key("http"), findings);
    }
}

fn endpoints(upstream: &Upstream, path: &YamlPath, findings: &mut Findings) {
    let path = path.key("endpoints");
    findings.add_if(
        upstream.endpoints.is_empty(),
        path.clone(),
        "an upstream has at least one endpoint",
    );
    let mut seen = HashSet::new();
    for (index, endpoint) in upstream.endpoints.iter().enumerate() {
        findings.add_if(
            !seen.insert(endpoint),
            path.index(index),
            "this endpoint is in the list already",
        );
        let first_tls = upstream.endpoints.first().is_some_and(|first| first.0.tls);
        findings.add_if(
            endpoint.0.tls != first_tls,
            path.index(index),
            "the endpoints of one upstream must be all https or all http: with both, some requests would not be encrypted",
        );
    }
}

/// Each answer that is read may hold as much.
fn http(upstream: &Upstream, path: &YamlPath, findings: &mut Findings) {
    let http = &upstream.http;
    findings.add_if(
        !(1 << 10..=1 << 20).contains(&http.header_bytes_max.get()),
        path.key("header_bytes_max"),
        "the head of an answer may have 1KiB to 1MiB",
    );
    findings.add_if(
        !(1..=4096).contains(&http.headers_max),
        path.key("headers_max"),
        "an answer may have 1 to 4096 header fields",
    );
}

fn tls(upstream: &Upstream, path: &YamlPath, findings: &mut Findings) {
    let tls = &upstream.tls;
    let plain = upstream.endpoints.iter().all(|endpoint| !endpoint.0.tls);
    let keys = [
        ("ca", tls.ca.is_some()),
        ("client_cert", tls.client_cert.is_some()),
        ("client_key", tls.client_key.is_some()),
        ("server_name", tls.server_name.is_some()),
    ];
    for (key, present) in keys {
        findings.add_if(
            present && plain && !upstream.endpoints.is_empty(),
            path.key(key),
            "this is a TLS setting, but the endpoints are http",
        );
    }
    match (&tls.client_cert, &tls.client_key) {
        (Some(_), None) => findings.add(path.key("client_cert"), "its client_key is missing"),
        (None, Some(_)) => findings.add(path.key("client_key"), "its client_cert is missing"),
        _ => {}
    }
    let name = tls.server_name.as_deref();
    findings.add_if(
        name.is_some_and(|name| !is_server_name(name)),
        path.key("server_name"),
        "a server name is a host name or an address, without port",
    );
}

/// True for a name that TLS can send as SNI; no connection could be made with another.
fn is_server_name(name: &str) -> bool {
    if name.parse::<IpAddr>().is_ok() {
        return true;
    }
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last label of digits alone would look like an address.
    let digits = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(label) && !name.rsplit('.').next().is_some_and(digits)
}

fn pool(upstream: &Upstream, path: &YamlPath, findings: &mut Findings) {
    let pool = &upstream.pool;
    findings.add_if(
        pool.connections_max == 0,
        path.key("connections_max"),
        "with 0 connections, no request can be forwarded",
    );
}
