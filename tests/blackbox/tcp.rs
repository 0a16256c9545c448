//! What the kernel is told of connections, read back from the kernel.

use std::net::SocketAddr;

use crate::support::gateway::{Gateway, config};
use crate::support::process::{countersign, run};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// A configuration in which partners' connections and those to the upstream have these options.
fn with_tcp(upstream: &str, partners: &str, api: &str) -> String {
    config(upstream, ROUTES)
        .replace(
            "partners: { address: \"127.0.0.1:0\" }",
            &format!("partners: {{ address: \"127.0.0.1:0\", tcp: {partners} }}"),
        )
        .replace(
            &format!("endpoints: [\"{upstream}\"]"),
            &format!("endpoints: [\"{upstream}\"], tcp: {api}"),
        )
}

/// The congestion control of the gateway's connections that match, by `ss`.
fn congestion_controls(gateway: &Gateway, filter: &str) -> Vec<String> {
    let args = ["-tinpHO", "state", "established", filter];
    let told = run(gateway.dir(), "ss", &args).ok();
    let ours = format!("pid={},", gateway.pid());
    let known = ["bbr", "cubic", "reno"];
    told.lines()
        .filter(|line| line.contains(&ours))
        .map(|line| {
            let named = line.split_whitespace().find(|word| known.contains(word));
            named.unwrap_or_else(|| panic!("{line}")).to_owned()
        })
        .collect()
}

fn of_port(side: &str, address: SocketAddr) -> String {
    format!("( {side} = :{} )", address.port())
}

fn default_of_the_kernel() -> String {
    let path = "/proc/sys/net/ipv4/tcp_congestion_control";
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Which ones partners' connections, and those to the upstream, have under this configuration.
fn in_force(partners: &str, api: &str) -> (Vec<String>, Vec<String>) {
    let echo = Echo::start();
    let gateway = Gateway::start(&with_tcp(&echo.url(), partners, api));
    // Two, so that one of them was handed to the other worker.
    let mut connections = [gateway.stranger().connect(), gateway.stranger().connect()];
    for connection in &mut connections {
        assert_eq!(connection.get("/").status, 200);
    }
    let upstream = echo.url().strip_prefix("http://").unwrap().parse().unwrap();
    (
        congestion_controls(&gateway, &of_port("sport", gateway.partners())),
        congestion_controls(&gateway, &of_port("dport", upstream)),
    )
}

#[test]
fn connections_have_the_congestion_control_of_their_side() {
    let default = default_of_the_kernel();
    let both = |name: &str| vec![name.to_owned(), name.to_owned()];
    assert_eq!(in_force("{}", "{}"), (both(&default), both(&default)));
    assert_eq!(
        in_force("{ congestion: reno }", "{}"),
        (both("reno"), both(&default))
    );
    assert_eq!(
        in_force("{}", "{ congestion: reno, nodelay: false }"),
        (both(&default), both("reno"))
    );
}

#[test]
fn one_that_the_kernel_does_not_offer_is_refused_with_those_that_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = with_tcp("http://127.0.0.1:1", "{ congestion: warp }", "{}");
    let Err((code, log, dir)) = Gateway::try_start_in(dir, &wrong) else {
        panic!("it started");
    };
    assert_eq!(code, Some(78), "{log}");
    assert!(log.contains("listeners.partners.tcp.congestion"), "{log}");
    assert!(log.contains("does not offer warp"), "{log}");
    assert!(log.contains("reno"), "{log}");
    let checked = countersign(dir.path(), &["config", "check", "countersign.yaml"]);
    assert_eq!(checked.code, 6, "{}", checked.stderr);
    assert!(checked.stderr.contains("does not offer warp"));
}

#[test]
fn a_reload_with_one_that_is_not_offered_changes_nothing_and_a_good_one_counts() {
    let echo = Echo::start();
    let gateway = Gateway::start(&with_tcp(&echo.url(), "{}", "{}"));
    gateway.configure(&with_tcp(&echo.url(), "{}", "{ congestion: warp }"));
    let refused = gateway.cli(&["reload"]);
    assert_ne!(refused.code, 0);
    assert!(
        refused.stderr.contains("does not offer warp"),
        "{}",
        refused.stderr
    );
    assert_eq!(gateway.stranger().get("/").status, 200);

    gateway.configure(&with_tcp(&echo.url(), "{}", "{ congestion: reno }"));
    gateway.cli(&["reload"]).ok();
    assert_eq!(gateway.stranger().get("/").status, 200);
    let upstream = echo.url().strip_prefix("http://").unwrap().parse().unwrap();
    let found = congestion_controls(&gateway, &of_port("dport", upstream));
    assert!(found.contains(&"reno".to_owned()), "{found:?}");
}
