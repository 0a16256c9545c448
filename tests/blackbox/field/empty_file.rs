//! A configuration that says nothing, or nothing any more: refused at start, and at a reload unless it is meant.

use std::fs;

use crate::support::gateway::{Gateway, config};
use crate::support::process::countersign;
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

/// The first lines of the good file, and other files that say nothing.
fn empty(good: &str) -> Vec<String> {
    let cut = |lines: usize| {
        good.lines()
            .take(lines)
            .map(|line| format!("{line}\n"))
            .collect::<Vec<_>>()
            .concat()
    };
    let hosts = good.find("hosts:").unwrap();
    let mut all: Vec<String> = [
        "",
        "\n\n",
        "# nothing but a comment\n",
        "{}",
        "null",
        "---\n",
        "~",
        "version: 1\n",
        "version: 1\nhosts: {}\n",
        "version: 1\nhosts:\n",
        "hosts: { a.test: {} }\n",
        "version:\nhosts: { a.test: {} }\n",
    ]
    .map(str::to_owned)
    .into();
    all.extend([cut(1), cut(3), good[..hosts].to_owned()]);
    all
}

#[test]
fn a_configuration_that_says_nothing_is_not_good() {
    let echo = Echo::start();
    let good = config(&echo.url(), ROUTES);
    let gateway = Gateway::start(&good);
    let acme = gateway.enrol("acme");
    let dir = tempfile::tempdir().unwrap();
    for text in empty(&good) {
        fs::write(dir.path().join("c.yaml"), &text).unwrap();
        let checked = countersign(dir.path(), &["config", "check", "c.yaml"]);
        assert_eq!(checked.code, 6, "{text:?}: {checked:?}");
        let said = &checked.stderr;
        assert!(
            said.contains("version") || said.contains("hosts"),
            "{text:?}: {said}"
        );
        let served = countersign(dir.path(), &["serve", "--config", "c.yaml"]);
        assert_eq!(served.code, 78, "{text:?}: {served:?}");
        gateway.configure(&text);
        for reload in [&["reload"][..], &["reload", "--allow-empty"]] {
            let refused = gateway.cli(reload);
            assert_eq!(refused.code, 6, "{text:?}: {refused:?}");
        }
        assert_eq!(
            gateway.count("countersign_config_last_reload_successful"),
            0
        );
        assert_eq!(acme.partner.get("/").status, 200, "{text:?}");
    }
}

#[test]
fn a_reload_that_drops_every_route_has_to_be_asked_for() {
    let echo = Echo::start();
    let good = config(&echo.url(), ROUTES);
    let gateway = Gateway::start(&good);
    let acme = gateway.enrol("acme");
    let (head, _) = good.split_once("    routes:").unwrap();
    for bare in [
        format!("{head}    require: mtls\n"),
        format!("{head}    routes: []\n"),
    ] {
        gateway.configure(&bare);
        let refused = gateway.cli(&["reload"]);
        assert_eq!(refused.code, 6, "{refused:?}");
        for part in ["no host has a route", "has 1", "--allow-empty"] {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
        // A signal cannot say that it is meant.
        let refusals = gateway.log().matches("reload refused").count();
        gateway.signal("HUP");
        crate::support::eventually::eventually("the signal is refused too", || {
            (gateway.log().matches("reload refused").count() > refusals).then_some(())
        });
        assert_eq!(acme.partner.get("/").status, 200);
        gateway.cli(&["reload", "--allow-empty"]).ok();
        assert_ne!(acme.partner.get("/").status, 200);
        // Nothing is dropped by one more such reload, nor by the way back.
        gateway.cli(&["reload"]).ok();
        gateway.configure(&good);
        gateway.cli(&["reload"]).ok();
        assert_eq!(acme.partner.get("/").status, 200);
    }
}
