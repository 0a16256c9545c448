//! TLS: names of a certificate of our own that nobody would see, or that are none.

use super::findings::{Findings, at};
use crate::config::root::Config;
use crate::domain::route::HostPattern;

pub fn check(config: &Config, findings: &mut Findings) {
    let (path, names) = (at("tls.own_names"), &config.tls.own_names);
    findings.add_if(
        !names.is_empty() && !config.tls.certificates.is_empty(),
        path.clone(),
        "these names have no effect while tls.certificates names a certificate: they are for one of the gateway's own authority",
    );
    for (index, name) in names.iter().enumerate() {
        findings.add_if(
            name.0 == HostPattern::Any,
            path.index(index),
            "a certificate has whole names, addresses, or names like *.example.com; * alone is none of them",
        );
    }
}
