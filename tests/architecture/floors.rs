//! The floors inside of `proxy`, and the steps of the walk.
//!
//! `proxy/mod.rs` lists the room's files and folders from the ground up: each imports those before it and no other. A
//! step of the walk imports no other step; only the conductors (`connection.rs`, `exchange.rs`, `admit.rs`) do.

use std::path::{Path, PathBuf};

use super::circles::{Graph, imports};

const ROOM: &str = "proxy";

/// The steps of the walk.
const STEPS: &[&str] = &[
    "proxy/intake/accept.rs",
    "proxy/intake/handshake.rs",
    "proxy/walk/read.rs",
    "proxy/walk/identify.rs",
    "proxy/walk/authorize.rs",
    "proxy/walk/limit.rs",
    "proxy/walk/prepare.rs",
    "proxy/walk/hold.rs",
    "proxy/walk/forward.rs",
    "proxy/walk/respond.rs",
    "proxy/report/record.rs",
];

/// Imports that point up, and steps that import steps.
pub fn violations(files: &[(PathBuf, String)]) -> Vec<String> {
    let imports = imports(files);
    let mut found = steps(&imports);
    let contents = files
        .iter()
        .find(|(path, _)| path == &Path::new(ROOM).join("mod.rs"));
    if let Some((_, contents)) = contents {
        found.extend(floors(&imports, contents));
    }
    found
}

/// The steps that a walk has to have, and does not.
pub fn missing_steps(files: &[(PathBuf, String)]) -> Vec<&'static str> {
    let there = |step: &&&str| files.iter().any(|(path, _)| path == Path::new(step));
    STEPS.iter().filter(|step| !there(step)).copied().collect()
}

fn steps(imports: &Graph) -> Vec<String> {
    let of_step = |step: &&str| {
        let named = imports.get(*step).into_iter().flatten();
        let named = named.filter(|name| STEPS.contains(&name.as_str()));
        let found: Vec<_> = named
            .map(|name| format!("step {step} imports step {name}"))
            .collect();
        found
    };
    STEPS.iter().flat_map(of_step).collect()
}

fn floors(imports: &Graph, contents: &str) -> Vec<String> {
    let listed: Vec<&str> = contents
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .filter_map(|line| line.strip_suffix(';'))
        .collect();
    let floor = |file: &str| {
        let mut parts = Path::new(file).iter().filter_map(|part| part.to_str());
        let inside = parts.next() == Some(ROOM);
        let name = parts.next()?.trim_end_matches(".rs");
        let place = listed.iter().position(|listed| *listed == name);
        place.filter(|_| inside)
    };
    let mut found = Vec::new();
    for (file, names) in imports {
        for name in names {
            if let (Some(own), Some(other)) = (floor(file), floor(name))
                && own < other
            {
                found.push(format!("{file} imports {name}, which is above it"));
            }
        }
    }
    found
}
