//! The places of a gateway's socket and store, read from a configuration that may have mistakes elsewhere.
//!
//! The commands that administer a running gateway need its socket and nothing else of the file: a typing mistake in a
//! route, or a file that is half edited, must not keep an operator from revoking a certificate.

use std::path::Path;

use super::document::{BYTES_MAX, Entry, Node, Place, Value, parse};
use super::file::read_prefix;
use super::load::directory_of;
use super::overlay::{keys_of_variable, lay};
use super::path::YamlPath;
use super::root::Config;

/// The sections that say where the socket and the store are.
const SECTIONS: [&str; 3] = ["admin", "data_directory", "store"];

/// The places that a configuration names.
#[derive(Debug)]
pub struct Places {
    /// Its places are as the file and the environment say, as far as these can be read; all else is at its default.
    pub config: Config,
    /// The reason why the file as a whole is not YAML, with the line; the places come from those sections that are.
    pub damage: Option<String>,
}

/// Reads the places from a file; fails only when the file cannot be read at all.
pub fn places(path: &Path, environment: &[(String, String)]) -> std::io::Result<Places> {
    let bytes = read_prefix(path, BYTES_MAX)?;
    Ok(places_of_text(
        &String::from_utf8_lossy(&bytes),
        path,
        environment,
    ))
}

fn places_of_text(text: &str, path: &Path, environment: &[(String, String)]) -> Places {
    let text = text.trim_start_matches('\u{feff}');
    let (mut root, damage) = match parse(text, 0) {
        Ok(root) => (root, None),
        Err(faults) => {
            let first = faults.first();
            let told = first.map(|fault| format!("line {}: {}", fault.place.line, fault.message));
            (of_sections(text), Some(told.unwrap_or_default()))
        }
    };
    if !matches!(root.value, Value::Mapping(_)) {
        root.value = Value::Mapping(Vec::new());
    }
    for (name, value) in environment {
        let keys = keys_of_variable(name, value).filter(|keys| {
            let section = keys.first().map(|key| key.to_ascii_lowercase());
            section.is_some_and(|section| SECTIONS.contains(&section.as_str()))
        });
        if let Some(keys) = keys {
            // One that cannot be laid over is a mistake that `serve` and `config check` tell of.
            let _ = lay(&mut root, &keys, value, 1);
        }
    }
    let mut config = Config {
        directory: directory_of(path),
        ..Config::default()
    };
    if let Some(written) = scalar(&root, &["data_directory"]) {
        config.data_directory = written.into();
    }
    config.admin.socket = scalar(&root, &["admin", "socket"]).map(Into::into);
    config.store.url = scalar(&root, &["store", "url"]).and_then(|url| url.parse().ok());
    Places { config, damage }
}

/// The sections of a text that is not YAML as a whole, each read for itself.
fn of_sections(text: &str) -> Node {
    let mut entries: Vec<Entry> = Vec::new();
    let mut section = String::new();
    // A last line that begins a section closes the one before it.
    for line in text.lines().chain(["end:"]) {
        let begins = line.starts_with(|first: char| first.is_ascii_alphabetic() || first == '"');
        if begins {
            if let Ok(Node {
                value: Value::Mapping(found),
                ..
            }) = parse(&section, 0)
            {
                entries.extend(found);
            }
            section.clear();
        }
        section.push_str(line);
        section.push('\n');
    }
    Node {
        place: Place {
            source: 0,
            line: 1,
            column: 1,
            end_line: 1,
        },
        value: Value::Mapping(entries),
    }
}

fn scalar(root: &Node, keys: &[&str]) -> Option<String> {
    let path = keys
        .iter()
        .fold(YamlPath::root(), |path, key| path.key(key));
    match &root.find(&path)?.value {
        Value::Scalar { text, .. } if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str, environment: &[(&str, &str)]) -> (String, bool) {
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let found = places_of_text(text, Path::new("/etc/c/c.yaml"), &environment);
        let socket = found.config.admin_socket().display().to_string();
        (socket, found.damage.is_some())
    }

    #[test]
    fn the_socket_is_found_whatever_else_is_wrong() {
        for (text, expected, damaged) in [
            ("admin: { socket: a.sock }", "/etc/c/a.sock", false),
            (
                "data_directory: /data\nwrokers: 2",
                "/data/admin.sock",
                false,
            ),
            (
                "version: 9\nhosts: 5\nadmin:\n  socket: /x/a.sock\n  address: nonsense",
                "/x/a.sock",
                false,
            ),
            (
                "data_directory: /data\nlisteners: [",
                "/data/admin.sock",
                true,
            ),
            (
                "listeners: [\nadmin:\n  socket: a.sock\nhosts: {",
                "/etc/c/a.sock",
                true,
            ),
            (
                "hosts:\n\tx: 1\ndata_directory: /data\n",
                "/data/admin.sock",
                true,
            ),
            (
                "admin: { socket: a.sock }\nhosts:\n  a: 'b\n",
                "/etc/c/a.sock",
                true,
            ),
            (
                "admin: { socket: [\ndata_directory: /data\n",
                "/data/admin.sock",
                true,
            ),
            ("\u{feff}admin: { socket: a.sock }", "/etc/c/a.sock", false),
            ("admin: [a, b]", "/var/lib/countersign/admin.sock", false),
            ("", "/var/lib/countersign/admin.sock", false),
            ("<html>", "/var/lib/countersign/admin.sock", false),
            ("\u{0}\u{1}{{{", "/var/lib/countersign/admin.sock", true),
        ] {
            assert_eq!(
                socket(text, &[]),
                (expected.to_owned(), damaged),
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_environment_wins_and_its_own_mistakes_do_not_matter() {
        let text = "data_directory: /file\nhosts: [";
        for (name, value, expected) in [
            ("COUNTERSIGN_DATA_DIRECTORY", "/env", "/env/admin.sock"),
            ("COUNTERSIGN_ADMIN__SOCKET", "/env.sock", "/env.sock"),
            ("COUNTERSIGN_ADMIN", "{socket: /flow.sock}", "/flow.sock"),
            ("COUNTERSIGN_WROKERS", "2", "/file/admin.sock"),
            ("COUNTERSIGN_ADMIN__SOCKET__X", "2", "/file/admin.sock"),
        ] {
            let (found, _) = socket(text, &[(name, value)]);
            assert_eq!(found, expected, "{name}");
        }
    }
}
