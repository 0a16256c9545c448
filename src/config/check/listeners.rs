//! Listeners: addresses that clash, limits that refuse every caller.

use std::net::SocketAddr;

use super::findings::{Findings, at};
use crate::config::root::Config;

/// The kernel's maximum length of a unix socket's path, without the NUL at its end.
const SOCKET_PATH_MAX: usize = 107;

/// The minimum: below it, ordinary requests with a token and cookies are refused.
const HEADER_BYTES_MIN: u64 = 8 << 10;

/// The maximum: above it, headers use too much memory for each connection.
const HEADER_BYTES_MAX: u64 = 1 << 20;

/// The maximum number of workers; no machine has more cores.
const WORKERS_MAX: u16 = 1024;

pub fn check(config: &Config, findings: &mut Findings) {
    addresses(config, findings);
    let partners = &config.listeners.partners;
    let path = at("listeners.partners");
    findings.add_if(
        partners.connections_max == 0,
        path.key("connections_max"),
        "with 0 connections, every caller is refused",
    );
    findings.add_if(
        partners.connections_per_address == 0,
        path.key("connections_per_address"),
        "with 0 connections per address, every caller is refused",
    );
    findings.add_if(
        partners.auth_failures.burst == 0,
        path.key("auth_failures").key("burst"),
        "burst must be at least 1: with 0, even the first failure exceeds the limit",
    );
    http(config, findings);
    let socket = config.admin_socket();
    findings.add_if(
        socket.as_os_str().len() > SOCKET_PATH_MAX,
        at("admin.socket"),
        "the path of a unix socket must have at most 107 bytes; set a shorter one",
    );
    findings.add_if(
        config
            .workers
            .is_some_and(|workers| workers.get() > WORKERS_MAX),
        at("workers"),
        "workers must be at most 1024; one per core is best",
    );
}

fn http(config: &Config, findings: &mut Findings) {
    let http = &config.listeners.partners.http;
    let path = at("listeners.partners.http");
    let bytes = http.header_bytes_max.get();
    findings.add_if(
        !(HEADER_BYTES_MIN..=HEADER_BYTES_MAX).contains(&bytes),
        path.key("header_bytes_max"),
        "header_bytes_max must be from 8KiB to 1MiB",
    );
    findings.add_if(
        http.uri_bytes_max.get() > bytes,
        path.key("uri_bytes_max"),
        "uri_bytes_max must not be larger than header_bytes_max, because the target is read with the header fields",
    );
    findings.add_if(
        !(16..=1000).contains(&http.headers_max),
        path.key("headers_max"),
        "headers_max must be from 16 to 1000",
    );
    findings.add_if(
        !(1..=10_000).contains(&http.streams_max),
        path.key("streams_max"),
        "streams_max must be from 1 to 10000",
    );
    findings.add_if(
        !(1..=10_000).contains(&http.resets_max),
        path.key("resets_max"),
        "resets_max must be from 1 to 10000",
    );
}

fn addresses(config: &Config, findings: &mut Findings) {
    let listeners = [
        (
            "listeners.partners.address",
            config.listeners.partners.address.0,
        ),
        ("admin.address", config.admin.address.0),
        ("ops.address", config.ops.address.0),
    ];
    for (place, (keys, address)) in listeners.iter().enumerate() {
        let clash = listeners
            .iter()
            .take(place)
            .find(|(_, other)| clashes(*address, *other));
        if let Some((other, _)) = clash {
            findings.add(at(keys), format!("{other} listens here already"));
        }
    }
}

/// True for two sockets that cannot both be bound; port 0 is a new port each time.
fn clashes(one: SocketAddr, other: SocketAddr) -> bool {
    let every = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (every || one.ip() == other.ip())
}
