//! The names in the listener's certificate that the gateway's own authority issues.

use std::net::IpAddr;

use crate::config::parts::Replaceable;
use crate::domain::route::HostPattern;

/// Every name that a partner may call: the configured hosts, the operator's additions, and the loopback.
///
/// A configuration that serves any host does not say how partners call this machine. The machine's name and its
/// listening address are the best guess then. Other addresses of the machine are left out: strangers see the
/// certificate, and should learn only the addresses that the operator gave them.
pub fn of(config: &Replaceable<'_>, listening: IpAddr, machine: Option<String>) -> Vec<String> {
    let mut names = config.server_names();
    if config.hosts.keys().any(|host| host.0 == HostPattern::Any) {
        let address = (!listening.is_unspecified()).then(|| listening.to_string());
        names.extend(machine.into_iter().chain(address));
    }
    names.extend(config.own_names());
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    let mut kept = Vec::with_capacity(names.len());
    for name in names {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

/// The name of this machine, if a certificate can contain it.
pub fn machine() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim().to_ascii_lowercase();
    match name.parse() {
        Ok(HostPattern::Exact(name)) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load::{self, Layers};

    fn names(yaml: &str) -> Vec<String> {
        let text = format!("version: 1\n{yaml}");
        let layers = Layers::default();
        let config = load::load_text(&text, Path::new("/nowhere/c.yaml"), &layers).unwrap();
        let listening = config.fixed().listeners.partners.address.0.ip();
        of(
            &config.replaceable(),
            listening,
            Some("gate.internal".to_owned()),
        )
    }

    const UPSTREAM: &str = "upstreams: { api: { endpoints: [\"http://127.0.0.1:9\"] } }\n";

    #[test]
    fn a_certificate_of_our_own_names_whatever_partners_may_call() {
        let route = "{ routes: [{ match: { prefix: / }, require: none, upstream: api }] }";
        let loopback = ["localhost", "127.0.0.1", "::1"];
        for (yaml, expected) in [
            (format!("hosts: {{ a.test: {route} }}"), &["a.test"][..]),
            (format!("hosts: {{ \"*\": {route} }}"), &["gate.internal"]),
            (
                format!(
                    "hosts: {{ \"*\": {route} }}\nlisteners: {{ partners: {{ address: \"192.0.2.7:8443\" }} }}"
                ),
                &["gate.internal", "192.0.2.7"],
            ),
            (
                format!(
                    "hosts: {{ a.test: {route} }}\ntls: {{ own_names: [a.test, \"*.b.test\", 192.0.2.9, \"[2001:db8::1]\"] }}"
                ),
                &["a.test", "*.b.test", "192.0.2.9", "2001:db8::1"],
            ),
        ] {
            let all: Vec<&str> = expected.iter().chain(&loopback).copied().collect();
            assert_eq!(names(&format!("{UPSTREAM}{yaml}")), all, "{yaml}");
        }
    }
}
