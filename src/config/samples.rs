//! Every file in `config/` loads, and the generated ones are current.

use std::path::{Path, PathBuf};

use super::annotate::annotated_default;
use super::document::{Node, Value, parse};
use super::load::{Layers, load, load_text};
use super::root::Config;
use super::schema::{schema, schema_text};
use crate::domain::route::Target;

fn in_tree(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn loaded(file: &str) -> Config {
    load(&in_tree(file), &Layers::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Rewrites a stale file, so that the next run of the test passes.
fn is_current(file: &str, expected: &str) {
    let path = in_tree(file);
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    if found != expected {
        std::fs::write(&path, expected).unwrap();
        panic!("{file} was stale and has been rewritten");
    }
}

#[test]
fn the_generated_files_are_current() {
    is_current("config/schema.json", &schema_text());
    is_current("config/countersign.yaml", &annotated_default());
}

#[test]
fn the_annotated_file_says_the_defaults() {
    let path = Path::new("c.yaml");
    let config = load_text(&annotated_default(), path, &Layers::default());
    let mut config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let default = Config::default();
    assert!(
        config
            .hosts
            .values()
            .all(|host| host.require == super::hosts::Host::default().require)
    );
    config.hosts.clear();
    config.upstreams.clear();
    config.directory = default.directory.clone();
    assert_eq!(config, default);
}

#[test]
fn the_annotated_file_describes_every_key() {
    let text = annotated_default();
    let lines: Vec<&str> = text.lines().collect();
    let keys = lines.windows(2).filter(|pair| {
        let is_key = pair[1]
            .trim_start()
            .split_once(':')
            .is_some_and(|(key, _)| {
                key.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            });
        is_key && !pair[0].trim_start().starts_with('#')
    });
    // Names that operators choose (hosts, upstreams) describe themselves.
    let bare: Vec<&str> = keys
        .map(|pair| pair[1].trim())
        .filter(|key| *key != "orders:")
        .collect();
    assert_eq!(bare, ["version: 1"; 0]);
}

#[test]
fn the_samples_load() {
    let minimal = loaded("config/minimal.yaml");
    let forwarded = |config: &Config| {
        let routes = config.replaceable().routes();
        let forwarded = routes
            .iter()
            .filter(|route| matches!(route.target, Target::Upstream(_)));
        forwarded.count()
    };
    assert_eq!((minimal.upstreams.len(), forwarded(&minimal)), (1, 1));
    let development = loaded("config/development.yaml");
    assert!(forwarded(&development) > 1);
    assert!(development.listeners.partners.address.0.ip().is_loopback());
    loaded("config/countersign.yaml");
}

#[test]
fn the_minimal_file_needs_one_line_to_be_edited() {
    let text = std::fs::read_to_string(in_tree("config/minimal.yaml")).unwrap();
    assert_eq!(text.matches("http://").count(), 1);
    assert!(text.lines().count() < 25);
}

/// Every key of a sample is in the schema, and no value is of another kind. Not a validator: a guard against drift.
fn fits(node: &Node, part: &serde_json::Value, whole: &serde_json::Value, path: &str) {
    let null = serde_json::Value::Null;
    let choice = part
        .get("anyOf")
        .and_then(|choices| choices.get(0))
        .unwrap_or(part);
    let target = choice.get("$ref").and_then(serde_json::Value::as_str);
    let part = match target {
        Some(target) => whole.pointer(target.trim_start_matches('#')).unwrap(),
        None => choice,
    };
    match &node.value {
        Value::Mapping(entries) => {
            for entry in entries {
                let own = part.get("properties").and_then(|keys| keys.get(&entry.key));
                let other = part
                    .get("additionalProperties")
                    .filter(|other| other.is_object());
                let below = own.or(other);
                assert!(below.is_some(), "{path}.{} is not in the schema", entry.key);
                fits(
                    &entry.node,
                    below.unwrap_or(&null),
                    whole,
                    &format!("{path}.{}", entry.key),
                );
            }
        }
        Value::Sequence(nodes) => {
            let items = part
                .get("items")
                .unwrap_or_else(|| panic!("{path} is no list in the schema"));
            for node in nodes {
                fits(node, items, whole, path);
            }
        }
        Value::Scalar { .. } => assert!(
            part.get("properties").is_none(),
            "{path} is an object in the schema"
        ),
        Value::Null | Value::Pruned => {}
    }
}

#[test]
fn the_schema_knows_the_samples_and_refuses_unknown_keys() {
    let schema = schema();
    for file in [
        "config/minimal.yaml",
        "config/development.yaml",
        "config/countersign.yaml",
    ] {
        let text = std::fs::read_to_string(in_tree(file)).unwrap();
        assert!(
            text.starts_with("# yaml-language-server: $schema=schema.json\n"),
            "{file}"
        );
        fits(&parse(&text, 0).unwrap(), &schema, &schema, file);
    }
    let types = schema["$defs"].as_object().unwrap().values();
    for part in types
        .chain([&schema])
        .filter(|part| part.get("properties").is_some())
    {
        assert_eq!(part["additionalProperties"], false, "{part}");
    }
}
