//! The plan of the house, enforced: who may import whom, who may name which library, and what a `mod.rs` holds; no
//! circle between files or folders.
//!
//! The source is read as text. Opening an arrow is a change of design: edit `PLAN`, and say why in ARCHITECTURE.md.

#![expect(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says why"
)]

mod circles;
mod floors;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use source::{source, without_comments_and_strings};

/// Rooms from the ground up, each with the rooms that it may import. An arrow points to a room above it in this list.
const PLAN: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("net", &[]),
    ("telemetry", &[]),
    ("config", &["domain"]),
    ("crypto", &["domain"]),
    ("store", &["domain"]),
    ("proxy", &["domain", "crypto", "net"]),
    ("control", &["domain", "crypto", "store"]),
    ("api", &["domain", "net", "control"]),
    (
        "daemon",
        &[
            "domain",
            "net",
            "telemetry",
            "config",
            "crypto",
            "store",
            "proxy",
            "control",
            "api",
        ],
    ),
    ("cli", &["domain", "config", "api", "daemon"]),
    // In tests and in builds for fuzzing only.
    ("fuzzing", &["domain", "net", "config", "crypto", "proxy"]),
];

/// Libraries that are at home in some rooms; no other room names them.
const HOMES: &[(&str, &[&str])] = &[
    ("aws_lc_rs", &["crypto"]),
    ("axum", &["api"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("comfy_table", &["cli"]),
    ("h2", &["net", "proxy"]),
    ("hyper", &["net", "proxy"]),
    ("hyper_util", &["net", "proxy"]),
    ("rcgen", &["crypto"]),
    ("rusqlite", &["store"]),
    ("rustix", &["daemon", "store"]),
    ("rustls", &["crypto", "net"]),
    ("sd_notify", &["daemon"]),
    ("sfv", &["crypto"]),
    ("serde_yaml", &["cli", "config"]),
    ("socket2", &["net"]),
    ("tokio_rustls", &["net"]),
    ("tracing_appender", &["telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
    ("utoipa", &["api"]),
    ("x509_parser", &["crypto"]),
];

/// What the ground floor does without: I/O, async and the clock.
const NOT_IN_DOMAIN: &[&str] = &[
    "std::fs",
    "std::io",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
];

#[test]
fn the_source_keeps_to_the_plan() {
    let found = violations(&source());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_plan_points_down() {
    assert_eq!(upward_arrows(PLAN), Vec::<String>::new());
    let upside_down: &[(&str, &[&str])] = &[("a", &["b"]), ("b", &[])];
    assert_eq!(upward_arrows(upside_down), ["a -> b"]);
}

#[test]
fn no_files_and_no_folders_import_each_other_in_a_circle() {
    let found = circles::circles(&source());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_folders_of_proxy_have_floors_and_no_step_knows_another() {
    let source = source();
    let found = floors::violations(&source);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    assert_eq!(floors::missing_steps(&source), [""; 0]);
}

#[test]
fn planted_faults_on_the_floors_are_found() {
    let contents = "pub mod codec;\npub mod intake;\npub mod walk;\npub mod plane;\n";
    for (path, text, expected) in [
        (
            "proxy/codec/a.rs",
            "use crate::proxy::walk::limit::spend;",
            Some("proxy/codec/a.rs imports proxy/walk/limit.rs, which is above it"),
        ),
        (
            "proxy/walk/read.rs",
            "use super::super::plane::Proxy;",
            Some("proxy/walk/read.rs imports proxy/plane.rs, which is above it"),
        ),
        (
            "proxy/walk/read.rs",
            "use super::limit;",
            Some("step proxy/walk/read.rs imports step proxy/walk/limit.rs"),
        ),
        (
            "proxy/walk/read.rs",
            "use crate::proxy::intake::{handshake};",
            Some("step proxy/walk/read.rs imports step proxy/intake/handshake.rs"),
        ),
        ("proxy/walk/exchange.rs", "use super::{limit, read};", None),
        ("proxy/walk/read.rs", "use crate::proxy::codec::a::A;", None),
    ] {
        let mut files = vec![
            ("proxy/mod.rs", contents),
            ("proxy/codec/a.rs", ""),
            ("proxy/intake/handshake.rs", ""),
            ("proxy/walk/read.rs", ""),
            ("proxy/walk/limit.rs", ""),
            ("proxy/plane.rs", ""),
        ];
        files.retain(|(other, _)| *other != path);
        files.push((path, text));
        let files: Vec<_> = files
            .into_iter()
            .map(|(path, text)| (PathBuf::from(path), text.to_owned()))
            .collect();
        let found = floors::violations(&files);
        let expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(found, expected, "{path}: {text}");
    }
}

/// The handle of the control plane has what several of its nouns need, and no more (decision 72).
#[test]
fn the_handle_of_control_stays_small() {
    let files = source();
    let service = files
        .iter()
        .find(|(path, _)| path.ends_with("control/service.rs"));
    let (_, text) = service.unwrap();
    let found = fields(text, "struct Inner {");
    assert!((1..=10).contains(&found.len()), "{found:?}");
    let planted = "struct Inner {\n    /// About a.\n    a: A,\n    pub(super) b: B,\n}\nc: C";
    assert_eq!(fields(planted, "struct Inner {"), ["a", "b"]);
}

/// Each fault that is planted here is found, or the test above could not fail.
#[test]
fn planted_faults_are_found() {
    for (path, text, expected) in [
        ("proxy/a.rs", "use crate::store::Store;", "proxy -> store"),
        (
            "domain/a.rs",
            "use crate::{\n    net::tls,\n};",
            "domain -> net",
        ),
        (
            "net/a.rs",
            "fn f() { crate::domain::reason::Reason::ALL; }",
            "net -> domain",
        ),
        (
            "control/a.rs",
            "use super::super::proxy::plane::Proxy;",
            "control -> proxy",
        ),
        ("attic/a.rs", "", "attic is not in the plan"),
        ("api/a.rs", "use rustls::ServerConfig;", "api names rustls"),
        (
            "control/a.rs",
            "fn f() { ::hyper::body::Incoming; }",
            "control names hyper",
        ),
        ("domain/a.rs", "use std::fs::read;", "domain names std::fs"),
        (
            "domain/a.rs",
            "async fn f() { tokio::task::yield_now().await }",
            "domain names tokio",
        ),
        (
            "net/mod.rs",
            "pub mod tls;\nfn code() {}",
            "net/mod.rs holds code",
        ),
    ] {
        let found = violations(&[(PathBuf::from(path), text.to_owned())]);
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{path}: {text}: {found:?}"
        );
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for (path, text) in [
        ("proxy/a.rs", "use crate::domain::reason::Reason;"),
        (
            "net/a.rs",
            "// use crate::domain::reason::Reason;\n/* crate::store */ //! [`crate::store`]",
        ),
        ("net/a.rs", "const TEXT: &str = \"crate::store::Store\";"),
        (
            "proxy/walk/exchange.rs",
            "use super::{identify, read, limit};",
        ),
        (
            "proxy/walk/limit.rs",
            "use crate::domain::record::AccessRecord;\nuse crate::domain::limit::Limit;",
        ),
        (
            "net/mod.rs",
            "//! Sockets.\n\npub mod tls;\n\n#[cfg(test)]\nmod tests;\n",
        ),
        ("main.rs", "fn main() { countersign::cli::entry::main(); }"),
    ] {
        let found = violations(&[(PathBuf::from(path), text.to_owned())]);
        assert!(found.is_empty(), "{path}: {text}: {found:?}");
    }
}

fn upward_arrows(plan: &[(&str, &[&str])]) -> Vec<String> {
    let mut below = BTreeSet::new();
    let mut upward = Vec::new();
    for (room, imports) in plan {
        upward.extend(
            imports
                .iter()
                .filter(|to| !below.contains(*to))
                .map(|to| format!("{room} -> {to}")),
        );
        below.insert(*room);
    }
    upward
}

fn violations(files: &[(PathBuf, String)]) -> Vec<String> {
    let plan: BTreeMap<&str, &[&str]> = PLAN.iter().copied().collect();
    let mut found = Vec::new();
    for (path, text) in files {
        let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
        let [room, .., file] = parts[..] else {
            continue;
        };
        let shown = path.display();
        let code = without_comments_and_strings(text);
        let Some(imports) = plan.get(room) else {
            found.push(format!("{shown}: {room} is not in the plan"));
            continue;
        };
        if file == "mod.rs" && !is_contents_page(&code) {
            found.push(format!("{shown} holds code; a mod.rs is a contents page"));
        }
        // Paths from `crate::` (or from above the room) name a room first; `super::` in a room's own file names its modules.
        let depth = parts.len() - 1;
        let up = "super::".repeat(depth + usize::from(file != "mod.rs") - 1);
        for root in ["crate::".to_owned(), format!("{up}super::")] {
            for name in names_after(&code, &root) {
                if plan.contains_key(name.as_str())
                    && name != room
                    && !imports.contains(&name.as_str())
                {
                    found.push(format!("{shown}: {room} -> {name}"));
                }
            }
        }
        for (library, homes) in HOMES {
            if !homes.contains(&room) && names_library(&code, library) {
                found.push(format!("{shown}: {room} names {library}"));
            }
        }
        if room == "domain" {
            // Its tests may read the documents that they hold the domain to.
            let tested = text.split("#[cfg(test)]").next().unwrap_or(text);
            let tested = without_comments_and_strings(tested);
            for banned in NOT_IN_DOMAIN
                .iter()
                .filter(|banned| names_library(&tested, banned))
            {
                found.push(format!("{shown}: domain names {banned}"));
            }
        }
    }
    found
}

/// The first names of all paths that begin with `root`, groups in braces included.
fn names_after(code: &str, root: &str) -> Vec<String> {
    let word = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut names = Vec::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = code[at + root.len()..].trim_start();
        match rest.strip_prefix('{') {
            None => names.push(word(rest)),
            Some(group) => {
                let mut depth = 1;
                let mut begins = true;
                for (place, character) in group.char_indices() {
                    match character {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => begins = true,
                        c if depth == 1 && begins && !c.is_whitespace() => {
                            names.push(word(&group[place..]));
                            begins = false;
                        }
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    names
}

fn names_library(code: &str, library: &str) -> bool {
    code.match_indices(library).any(|(at, _)| {
        let before = code[..at].trim_end_matches("::").chars().next_back();
        let after = &code[at + library.len()..];
        let path_before =
            code[..at].ends_with("::") && before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        whole
            && !path_before
            && (after.starts_with("::") || after.starts_with(';') && code[..at].ends_with("use "))
    })
}

/// The names of the fields of the struct that begins with `opening`.
fn fields(text: &str, opening: &str) -> Vec<String> {
    let code = without_comments_and_strings(text);
    let (_, body) = code.split_once(opening).unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let names = body.lines().filter_map(|line| line.split_once(": "));
    names
        .filter_map(|(name, _)| name.split(' ').next_back())
        .map(str::to_owned)
        .collect()
}

fn is_contents_page(code: &str) -> bool {
    code.split(';')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .all(|item| {
            let item = item.rsplit(']').next().unwrap_or(item).trim();
            let item = item
                .strip_prefix("pub(super) ")
                .or_else(|| item.strip_prefix("pub "))
                .unwrap_or(item);
            item.strip_prefix("mod ")
                .is_some_and(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'))
        })
}
