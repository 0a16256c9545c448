//! Everything that can be read but would not do what it seems to say.

use super::findings::{Findings, at};
use super::{identity_headers, issuers, listeners, metrics, routes, services, tcp, tls, upstreams};
use crate::config::document::{Node, Value};
use crate::config::problem::Finding;
use crate::config::root::Config;

/// Everything that is wrong with a configuration whose every value can be read.
///
/// `written` is the document as it stood, so that an upstream which was refused is not also unknown;
/// `congestion_controls` are those that the kernel offers, if it says.
pub fn check(config: &Config, written: &Node, congestion_controls: Option<&str>) -> Vec<Finding> {
    let mut findings = Findings::default();
    whole(config, written, &mut findings);
    listeners::check(config, &mut findings);
    routes::check(config, written, &mut findings);
    identity_headers::check(config, &mut findings);
    upstreams::check(config, &mut findings);
    tcp::check(config, congestion_controls, &mut findings);
    tls::check(config, &mut findings);
    services::check(config, &mut findings);
    issuers::check(config, &mut findings);
    metrics::check(config, &mut findings);
    findings.0
}

/// A file that is empty, cut short or another program's says too little to be put in force.
fn whole(config: &Config, written: &Node, findings: &mut Findings) {
    let version = written.find(&at("version")).map(|node| &node.value);
    if matches!(version, None | Some(Value::Null)) {
        findings.add(
            at("version"),
            "the version of this format is missing; a configuration says version: 1",
        );
    } else if config.version != 1 {
        findings.add(at("version"), "the only version of this format is 1");
    }
    findings.add_if(
        config.hosts.is_empty(),
        at("hosts"),
        "there is no host, so every call would be answered with 404; name the host that partners call, with its routes",
    );
}
