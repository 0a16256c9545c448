//! Layers over the file: the environment (`COUNTERSIGN_SECTION__KEY`), then flags (`section.key`).

use super::document::{Entry, Node, Place, Value, parse};
use super::kubernetes::is_of_a_service;

/// Variables of the command line, which are no settings.
const NOT_SETTINGS: [&str; 8] = [
    "ADMIN_CA",
    "ADMIN_SOCKET",
    "ADMIN_TOKEN",
    "ADMIN_TOKEN_FILE",
    "ADMIN_URL",
    "CONFIG",
    "LOG",
    "OUTPUT",
];

const PREFIX: &str = "COUNTERSIGN_";

/// The keys of a variable, outermost first, if it is a setting. An empty variable is not set.
pub fn keys_of_variable<'v>(name: &'v str, value: &str) -> Option<Vec<&'v str>> {
    let setting = name.strip_prefix(PREFIX)?;
    let is_setting =
        !value.is_empty() && !NOT_SETTINGS.contains(&setting) && !is_of_a_service(setting, value);
    is_setting.then(|| setting.split("__").collect())
}

/// True if a variable begins as settings do, and is one that Kubernetes sets for a Service.
pub fn is_ignored(name: &str, value: &str) -> bool {
    let setting = name.strip_prefix(PREFIX);
    setting.is_some_and(|setting| is_of_a_service(setting, value))
}

/// The error of a value that cannot be laid over the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotLay {
    #[error("its value is not YAML: {0}")]
    NotYaml(String),
    #[error("there are no keys below {0}")]
    NoKeys(String),
    #[error("it has an empty part")]
    NoName,
}

/// Lays a value over the tree. A list or mapping is written in YAML's flow style; any other value is taken literally.
pub fn lay(root: &mut Node, keys: &[&str], text: &str, source: usize) -> Result<(), CannotLay> {
    let place = Place {
        source,
        line: 1,
        column: 1,
        end_line: 1,
    };
    let value = if text.starts_with(['[', '{']) {
        let node = parse(text, source).map_err(|faults| {
            let first = faults.first().map(|fault| fault.message.clone());
            CannotLay::NotYaml(first.unwrap_or_default())
        })?;
        node.value
    } else {
        Value::Scalar {
            text: text.to_owned(),
            plain: true,
        }
    };
    let mut node = root;
    for key in keys {
        if key.is_empty() {
            return Err(CannotLay::NoName);
        }
        node = child(node, key, place)?;
    }
    *node = Node { place, value };
    Ok(())
}

/// The value at a key, created if there is none. A variable's name has no dots, dashes and small letters,
/// so `ORDERS_V2` finds `orders-v2`.
fn child<'n>(node: &'n mut Node, key: &str, place: Place) -> Result<&'n mut Node, CannotLay> {
    if matches!(node.value, Value::Null) {
        node.value = Value::Mapping(Vec::new());
        node.place = place;
    }
    match &mut node.value {
        Value::Mapping(entries) => {
            let found = entries
                .iter()
                .position(|entry| fold(&entry.key) == fold(key));
            let index = found.unwrap_or_else(|| {
                let value = Value::Null;
                entries.push(Entry {
                    key: key.to_ascii_lowercase(),
                    key_place: place,
                    node: Node { place, value },
                });
                entries.len() - 1
            });
            let entry = entries.get_mut(index);
            entry.map(|entry| &mut entry.node)
        }
        Value::Sequence(nodes) => key
            .parse()
            .ok()
            .and_then(|index: usize| nodes.get_mut(index)),
        Value::Null | Value::Pruned | Value::Scalar { .. } => None,
    }
    .ok_or_else(|| CannotLay::NoKeys(key.to_ascii_lowercase()))
}

fn fold(key: &str) -> String {
    key.chars()
        .map(|character| match character.to_ascii_lowercase() {
            '-' | '.' => '_',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::path::YamlPath;

    #[test]
    fn variables_name_keys() {
        for (name, value, expected) in [
            (
                "COUNTERSIGN_LOG__LEVEL",
                "debug",
                Some(vec!["LOG", "LEVEL"]),
            ),
            ("COUNTERSIGN_WORKERS", "2", Some(vec!["WORKERS"])),
            ("COUNTERSIGN_WORKERS", "", None),
            ("COUNTERSIGN_ADMIN_TOKEN", "cs_admin_x", None),
            ("COUNTERSIGN_PORT", "tcp://10.0.0.1:8443", None),
            ("COUNTERSIGN_PORT", "8443", Some(vec!["PORT"])),
            ("PATH", "/bin", None),
        ] {
            assert_eq!(keys_of_variable(name, value), expected, "{name}");
        }
    }

    fn scalar(root: &Node, keys: &[&str]) -> String {
        let path = keys
            .iter()
            .fold(YamlPath::root(), |path, key| path.key(key));
        match root.find(&path).map(|node| &node.value) {
            Some(Value::Scalar { text, .. }) => text.clone(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn values_are_laid_over_what_is_there() {
        let text = "workers: 1\nupstreams: {orders-v2: {endpoints: [a, b]}}\n";
        let mut root = parse(text, 0).unwrap();
        for (keys, value) in [
            (&["WORKERS"][..], "2"),
            (&["LOG", "LEVEL"], "debug"),
            (&["UPSTREAMS", "ORDERS_V2", "PROTOCOL"], "http2"),
            (&["UPSTREAMS", "ORDERS_V2", "ENDPOINTS", "1"], "c"),
        ] {
            lay(&mut root, keys, value, 1).unwrap();
        }
        assert_eq!(scalar(&root, &["workers"]), "2");
        assert_eq!(scalar(&root, &["log", "level"]), "debug");
        assert_eq!(
            scalar(&root, &["upstreams", "orders-v2", "protocol"]),
            "http2"
        );
        let endpoints = YamlPath::root()
            .key("upstreams")
            .key("orders-v2")
            .key("endpoints");
        let second = root.find(&endpoints.index(1)).unwrap();
        assert!(matches!(&second.value, Value::Scalar { text, .. } if text == "c"));
    }

    #[test]
    fn what_cannot_be_laid_is_refused() {
        let mut root = parse("workers: 1\nlist: [a]\n", 0).unwrap();
        for (keys, value, expected) in [
            (
                &["WORKERS", "X"][..],
                "2",
                CannotLay::NoKeys("x".to_owned()),
            ),
            (&["LIST", "7"], "2", CannotLay::NoKeys("7".to_owned())),
            (&["LOG", ""], "2", CannotLay::NoName),
        ] {
            assert_eq!(lay(&mut root, keys, value, 1), Err(expected), "{keys:?}");
        }
        assert!(matches!(
            lay(&mut root, &["LIST"], "[a", 1),
            Err(CannotLay::NotYaml(_))
        ));
    }
}
