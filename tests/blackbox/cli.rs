//! The command line as an operator types it.

use std::fs;
use std::path::Path;

use crate::support::gateway::{Gateway, config};
use crate::support::process::countersign;
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

#[test]
fn every_command_explains_itself() {
    let dir = tempfile::tempdir().unwrap();
    for command in [
        "serve",
        "demo",
        "config",
        "app",
        "cert",
        "key",
        "csr",
        "audit",
        "admin-token",
        "token-key",
        "reload",
        "drain",
    ] {
        let help = countersign(dir.path(), &[command, "--help"]).ok();
        assert!(help.contains("Usage:"), "{command}");
    }
    assert_eq!(countersign(dir.path(), &["nonsense"]).code, 2);
    assert!(
        countersign(dir.path(), &["--version"])
            .ok()
            .contains(env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_and_man_pages_are_made() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            countersign(dir.path(), &["completions", shell])
                .ok()
                .contains("countersign")
        );
    }
    countersign(dir.path(), &["man", "pages"]).ok();
    assert!(dir.path().join("pages/countersign.1").exists());
}

#[test]
fn a_wildcard_has_no_client_auth_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let good = config("http://127.0.0.1:1", ROUTES);
    for name in ["*.example.test", "*"] {
        for asked in ["mode: required", "reject: alert"] {
            let host =
                format!("  \"{name}\":\n    client_auth: {{ {asked} }}\n    routes:\n{ROUTES}\n");
            fs::write(dir.path().join("bad.yaml"), format!("{good}{host}")).unwrap();
            let checked = countersign(dir.path(), &["config", "check", "--config", "bad.yaml"]);
            assert_ne!(checked.code, 0, "{name} {asked}");
            let told = format!("{}{}", checked.stdout, checked.stderr);
            assert!(
                told.contains(&format!("hosts.{name}.client_auth")),
                "{told}"
            );
            let served = countersign(dir.path(), &["serve", "--config", "bad.yaml"]);
            assert_eq!(served.code, 78, "{served:?}");
        }
    }
}

#[test]
fn a_configuration_is_checked_whole_with_places_and_suggestions() {
    let dir = tempfile::tempdir().unwrap();
    let good = config("http://127.0.0.1:1", ROUTES);
    fs::write(dir.path().join("good.yaml"), &good).unwrap();
    countersign(dir.path(), &["config", "check", "--config", "good.yaml"]).ok();
    let bad = good
        .replace("workers: 2", "wrokers: 2")
        .replace("upstream: api }", "upstream: apj }")
        .replace(
            "signing_key: token.key",
            "signing_key: token.key, ttl: soon",
        );
    fs::write(dir.path().join("bad.yaml"), bad).unwrap();
    let refused = countersign(dir.path(), &["config", "check", "--config", "bad.yaml"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(
        said.contains("wrokers") && said.contains("workers"),
        "{said}"
    );
    let served = countersign(dir.path(), &["serve", "--config", "bad.yaml"]);
    assert_eq!(served.code, 78, "{served:?}");
    let absent = countersign(dir.path(), &["serve", "--config", "absent.yaml"]);
    assert_eq!(absent.code, 78, "{absent:?}");
}

#[test]
fn every_problem_is_told_at_once_with_its_line_and_its_column() {
    let dir = tempfile::tempdir().unwrap();
    let text = config("ftp://127.0.0.1:1", ROUTES)
        .replace("workers: 2", "wrokers: 2")
        .replace(
            "signing_key: token.key",
            "signing_key: token.key, ttl: soon",
        )
        .replace("require: mtls", "require: everything");
    let elsewhere = "      - { match: { prefix: /x }, require: mtls, upstream: apj }\n";
    let text = format!("{text}{elsewhere}");
    fs::write(dir.path().join("bad.yaml"), &text).unwrap();
    let args = ["config", "check", "bad.yaml", "--output", "json"];
    let checked = countersign(dir.path(), &args);
    assert_eq!(checked.code, 6, "{checked:?}");
    let told: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    let place = |word: &str| {
        let (line, column) = text
            .lines()
            .enumerate()
            .find_map(|(line, text)| Some((line + 1, text.find(word)? + 1)))
            .unwrap();
        (serde_json::json!(line), serde_json::json!(column))
    };
    let problems = told["problems"].as_array().unwrap();
    let found: Vec<_> = problems
        .iter()
        .map(|problem| {
            let path = problem["path"].as_str().unwrap();
            (path, (problem["line"].clone(), problem["column"].clone()))
        })
        .collect();
    let route = |place: usize| format!("hosts.api.example.test.routes[{place}]");
    assert_eq!(
        found,
        [
            ("wrokers", place("wrokers")),
            ("tokens.ttl", place("soon")),
            ("upstreams.api.endpoints[0]", place("\"ftp:")),
            (&*format!("{}.require", route(0)), place("everything")),
            (&*format!("{}.upstream", route(1)), place("apj")),
        ],
        "{told}"
    );
    // For a person the same, each with the line that it is about and a mark below the place.
    let shown = countersign(dir.path(), &["config", "check", "bad.yaml"]).stderr;
    for (path, (line, column)) in &found {
        let head = format!("bad.yaml:{line}:{column}: {path}: ");
        assert!(shown.contains(&head), "{head}: {shown}");
    }
    assert!(shown.ends_with("5 problems\n"), "{shown}");
    let served = countersign(dir.path(), &["serve", "--config", "bad.yaml"]);
    assert_eq!(served.code, 78);
    assert!(served.stderr.contains("5 problems"), "{served:?}");
}

#[test]
fn the_schema_and_the_defaults_are_printed_as_they_are_published() {
    let dir = tempfile::tempdir().unwrap();
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let schema = countersign(dir.path(), &["config", "schema"]).ok();
    let published = fs::read_to_string(tree.join("schema.json")).unwrap();
    assert_eq!(schema, published);
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    for section in ["listeners", "tls", "hosts", "upstreams", "store"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
    assert_eq!(schema["additionalProperties"], false);
    let defaults = countersign(dir.path(), &["config", "default"]).ok();
    let published = fs::read_to_string(tree.join("countersign.yaml")).unwrap();
    assert_eq!(defaults, published);
}

#[test]
fn an_inline_secret_is_refused_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let text = config("http://127.0.0.1:1", ROUTES).replace(
        "version: 1",
        "version: 1\nkeys: { pepper: hunter2hunter2hunter2 }",
    );
    fs::write(dir.path().join("c.yaml"), text).unwrap();
    let refused = countersign(dir.path(), &["config", "check", "--config", "c.yaml"]);
    assert_eq!(refused.code, 6);
    assert!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
}

#[test]
fn lists_come_as_tables_json_and_yaml() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    assert!(gateway.cli(&["app", "list"]).ok().contains("acme"));
    assert_eq!(
        gateway.cli_json(&["cert", "list"])[0]["id"],
        acme.id.as_str()
    );
    assert!(
        gateway
            .cli(&["cert", "list", "--output", "yaml"])
            .ok()
            .contains(&acme.id)
    );
    assert_eq!(
        gateway
            .cli_json(&["cert", "list", "--expiring", "1d"])
            .as_array()
            .unwrap()
            .len(),
        0
    );
    assert_eq!(
        gateway
            .cli_json(&["cert", "list", "--expiring", "100d"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        gateway
            .cli(&["cert", "list", "--expiring", "100d", "--fail"])
            .code,
        8
    );
    assert_eq!(gateway.cli(&["app", "get", "nobody"]).code, 3);
    assert_eq!(gateway.cli(&["app", "create", "acme"]).code, 5);
    assert_eq!(gateway.cli(&["app", "create", "Not A Name"]).code, 6);
}

#[test]
fn without_a_gateway_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let refused = countersign(
        dir.path(),
        &["app", "list", "--admin-socket", "nowhere.sock"],
    );
    assert_eq!(refused.code, 7, "{refused:?}");
    assert!(refused.stderr.contains("nowhere.sock"), "{refused:?}");
}
