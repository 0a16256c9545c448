//! The files that the process may have open, and who may have how many of them.

use std::fs;
use std::net::TcpStream;

use crate::support::eventually::eventually;
use crate::support::gateway::{Circumstances, Gateway, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

/// One address opens connections and says nothing, in a process that may have few files open.
#[test]
fn one_address_cannot_take_the_files_that_others_need() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let few = Circumstances {
        ulimit: Some("-n 128"),
        ..Circumstances::default()
    };
    let gateway = Gateway::start_by(tempfile::tempdir().unwrap(), &text, few);
    let acme = gateway.enrol("acme");
    let silent: Vec<_> = (0..150)
        .map(|_| TcpStream::connect(gateway.partners()).unwrap())
        .collect();
    eventually("there are too many from one address", || {
        let (_, metrics) = gateway.ops_get("/metrics");
        let refused = "countersign_refusals_total{reason=\"address_connections\"} ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(refused));
        (line.unwrap().parse::<u64>().unwrap() > 0).then_some(())
    });
    assert_eq!(gateway.ops_get("/livez").0, 200);
    gateway.cli(&["app", "list"]).ok();
    let elsewhere = acme.partner.from([127, 0, 0, 2].into());
    assert_eq!(elsewhere.get("/orders").status, 200);
    drop(silent);
    assert!(gateway.log().contains("limit on open files is too low"));
}

#[test]
fn the_limit_on_open_files_is_raised_as_far_as_it_may_be() {
    let soft = Circumstances {
        ulimit: Some("-S -n 256"),
        ..Circumstances::default()
    };
    let text = config("http://127.0.0.1:1", ROUTES);
    let gateway = Gateway::start_by(tempfile::tempdir().unwrap(), &text, soft);
    let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_ne!(words[3], "256", "{line:?}");
    assert_eq!(words[3], words[4], "{line:?}");
}
