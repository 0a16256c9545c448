//! The programs of `tests/clients`, and the places of their packages.

use std::path::{Path, PathBuf};

pub fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(file)
}

pub fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients")
}

/// What `tests/clients/install` has put below `target/`.
#[track_caller]
pub fn installed(what: &str) -> PathBuf {
    let path = target().join(what);
    assert!(
        path.exists(),
        "{} is missing: tests/clients/install makes it, and tests/run calls that",
        path.display()
    );
    path
}

/// Fails when a tool is not here: a client that is not tried would look like one that works.
#[track_caller]
pub fn need(tool: &str) {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let here = std::env::split_paths(&paths).any(|path| path.join(tool).is_file());
    assert!(
        here,
        "{tool} is missing: tests/run installs it (a Debian package)"
    );
}
