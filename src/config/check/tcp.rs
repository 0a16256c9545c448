//! TCP: congestion controls that the kernel does not have, polling that would keep a worker from its work.

use super::findings::{Findings, at};
use crate::config::path::YamlPath;
use crate::config::root::Config;
use crate::config::tcp::Tcp;

/// The maximum time, in microseconds: a worker serves no other connection while it polls.
const BUSY_POLL_MAX: u16 = 1000;

/// `offered` are the names of the kernel's congestion controls; without them, only the start can tell.
pub fn check(config: &Config, offered: Option<&str>, findings: &mut Findings) {
    let listeners = [
        ("listeners.partners", &config.listeners.partners.tcp),
        ("admin", &config.admin.tcp),
        ("ops", &config.ops.tcp),
    ];
    for (keys, tcp) in listeners {
        section(tcp, &at(keys).key("tcp"), offered, findings);
    }
    for (name, upstream) in &config.upstreams {
        let path = at("upstreams").key(name).key("tcp");
        section(&upstream.tcp, &path, offered, findings);
    }
}

fn section(tcp: &Tcp, path: &YamlPath, offered: Option<&str>, findings: &mut Findings) {
    if let (Some(wanted), Some(offered)) = (&tcp.congestion, offered)
        && !offered
            .split_whitespace()
            .any(|name| name == wanted.as_str())
    {
        let has = offered.split_whitespace().collect::<Vec<_>>().join(", ");
        findings.add(
            path.key("congestion"),
            format!(
                "this machine's kernel does not offer {wanted}, only {has}; \
                 one that is a module has to be loaded before (modprobe tcp_{wanted})"
            ),
        );
    }
    findings.add_if(
        tcp.busy_poll.is_some_and(|time| time.get() > BUSY_POLL_MAX),
        path.key("busy_poll"),
        "busy_poll must be at most 1000 microseconds: a worker serves no other connection while it polls",
    );
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::load::{Layers, load_text};

    /// The findings at the four places, on a kernel that has these algorithms.
    fn found(tcp: &str, offered: Option<&str>) -> Vec<String> {
        let text = format!(
            "version: 1\nhosts: {{a.test: {{}}}}\nlisteners: {{partners: {{tcp: {tcp}}}}}\nadmin: {{tcp: {tcp}}}\nops: {{tcp: {tcp}}}\n\
             upstreams: {{up: {{endpoints: [\"http://127.0.0.1:1\"], tcp: {tcp}}}}}\n"
        );
        let config = load_text(&text, Path::new("c.yaml"), &Layers::default());
        let mut findings = Findings::default();
        check(&config.unwrap(), offered, &mut findings);
        let told = findings.0.iter();
        told.map(|finding| format!("{}: {}", finding.path, finding.message))
            .collect()
    }

    #[test]
    fn only_what_the_kernel_offers_may_be_named() {
        assert_eq!(found("{congestion: reno}", Some("cubic reno\n")), [""; 0]);
        assert_eq!(found("{congestion: reno}", None), [""; 0]);
        assert_eq!(found("{}", Some("")), [""; 0]);
        let refused = found("{congestion: reno}", Some("cubic bbr\n"));
        assert_eq!(refused.len(), 4);
        for (told, place) in refused.iter().zip([
            "listeners.partners.tcp.congestion: ",
            "admin.tcp.congestion: ",
            "ops.tcp.congestion: ",
            "upstreams.up.tcp.congestion: ",
        ]) {
            assert!(told.starts_with(place), "{told}");
            assert!(told.contains("not offer reno, only cubic, bbr"), "{told}");
        }
        // Part of a name is another name.
        assert_eq!(found("{congestion: reno}", Some("renoir bbr")).len(), 4);
    }
}
