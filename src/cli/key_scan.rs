//! `countersign key scan`: keys in files, so that a leaked one is found and revoked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::client::Admin;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::output::{self, Column};
use crate::domain::key_text::{self, KEY_TEXT_CHARS};

/// Find keys in files and folders, and say which of them are live.
///
/// Only the keys that are found go to the gateway, and nothing of the files besides. The exit code is 8 when a live key
/// is found.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign key scan ./src config.yaml
  git log -p | countersign key scan -")]
pub(super) struct Scan {
    /// Files and folders; `-` is the standard input.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

/// The bytes that are read at once.
const PIECE: usize = 1 << 20;

/// The keys that one question to the gateway holds: its bodies are bounded.
const ASKED_TOGETHER: usize = 1000;

/// The most keys that are remembered; a file with more is no leak but a dump.
const KEYS_MAX: usize = 100_000;

const COLUMNS: &[Column] = &[
    Column("PLACE", "/place"),
    Column("KEY", "/key"),
    Column("APP", "/app"),
    Column("KIND", "/kind"),
    Column("STATE", "/state"),
];

/// The places that were looked at, and the keys that were found there.
#[derive(Debug, Default)]
struct Findings {
    /// Each key's text, with the place where it stands first.
    keys: BTreeMap<String, String>,
    files: u64,
    unreadable: u64,
}

impl Scan {
    pub(super) async fn run(&self, admin: &Admin, global: &Global) -> Result<Exit, Failure> {
        let mut findings = Findings::default();
        for path in &self.paths {
            if path == Path::new("-") {
                findings.read("-", &mut std::io::stdin().lock());
            } else {
                findings.path(path);
            }
        }
        output::progress("");
        let found = named(admin, &findings).await?;
        let live = found.iter().any(is_live);
        output::print(&output::list(global.output, &found, COLUMNS))?;
        output::remark(&format!(
            "{} in {}",
            output::count(count(found.len()), "key"),
            output::count(findings.files, "file"),
        ));
        Ok(match (live, findings.unreadable) {
            (true, _) => Exit::ThresholdCrossed,
            (false, 0) => Exit::Done,
            (false, _) => Exit::Failed,
        })
    }
}

impl Findings {
    /// Looks at a file, or at everything in a folder. Links are not followed: they may lead round in circles.
    fn path(&mut self, path: &Path) {
        let mut waiting = vec![path.to_path_buf()];
        while let Some(place) = waiting.pop() {
            // A link that is given is meant; one that is found is not.
            let kind = if place == path {
                place.metadata()
            } else {
                place.symlink_metadata()
            };
            match kind.map(|kind| (kind.is_dir(), kind.is_file())) {
                Ok((true, _)) => match std::fs::read_dir(&place) {
                    Ok(entries) => waiting.extend(entries.flatten().map(|entry| entry.path())),
                    Err(error) => self.unreadable(&place, &error),
                },
                Ok((false, true)) => self.file(&place),
                Ok((false, false)) => {}
                Err(error) => self.unreadable(&place, &error),
            }
        }
    }

    fn file(&mut self, path: &Path) {
        match File::open(path) {
            Ok(mut file) => self.read(&path.display().to_string(), &mut file),
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        self.unreadable += 1;
        output::remark(&format!("{} cannot be read: {error}", path.display()));
    }

    /// Reads in pieces; the end of each is looked at again with the next one, since a key may stand across.
    fn read(&mut self, name: &str, from: &mut dyn Read) {
        self.files += 1;
        output::progress(&format!("{} files, {} keys", self.files, self.keys.len()));
        let (mut bytes, mut lines) = (Vec::new(), 1);
        loop {
            let mut piece = from.take(PIECE as u64);
            match piece.read_to_end(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => return self.unreadable(Path::new(name), &error),
            }
            self.look(name, lines, &bytes);
            let done = bytes.len().saturating_sub(KEY_TEXT_CHARS - 1);
            lines += newlines(bytes.get(..done).unwrap_or_default());
            bytes.drain(..done);
        }
    }

    fn look(&mut self, name: &str, lines: u64, bytes: &[u8]) {
        for (place, key) in key_text::find(bytes) {
            if self.keys.len() < KEYS_MAX && !self.keys.contains_key(key) {
                let line = lines + newlines(bytes.get(..place).unwrap_or_default());
                self.keys.insert(key.to_owned(), format!("{name}:{line}"));
            }
        }
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    count(memchr::memchr_iter(b'\n', bytes).count())
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The gateway's word about each key, in their order, with its place.
async fn named(admin: &Admin, findings: &Findings) -> Result<Vec<Value>, Failure> {
    let mut named = Vec::new();
    let keys: Vec<(&String, &String)> = findings.keys.iter().collect();
    for together in keys.chunks(ASKED_TOGETHER) {
        let texts: Vec<&str> = together.iter().map(|(key, _)| key.as_str()).collect();
        let answer = admin
            .post("/keys/identify", json!({"text": texts.join("\n")}))
            .await?;
        let found = answer.get("found").and_then(Value::as_array);
        let found = found.cloned().unwrap_or_default();
        let places = together.iter().map(|(_, place)| place.as_str());
        named.extend(
            found
                .into_iter()
                .zip(places)
                .map(|(found, place)| placed(found, place)),
        );
    }
    Ok(named)
}

fn placed(mut found: Value, place: &str) -> Value {
    if let Some(fields) = found.as_object_mut() {
        fields.insert("place".to_owned(), place.into());
    }
    found
}

fn is_live(found: &Value) -> bool {
    found.get("live") == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "sk_live_00000000000000000000000001Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1A4PD1UY";

    #[test]
    fn a_key_is_found_across_pieces_and_told_by_its_line() {
        let mut findings = Findings::default();
        let text = format!("{}\n{KEY}\nx", "a".repeat(PIECE - 20));
        findings.read("f", &mut text.as_bytes());
        findings.read("g", &mut KEY.as_bytes());
        let places: Vec<_> = findings.keys.values().map(String::as_str).collect();
        assert_eq!(places, ["f:2"]);
        assert_eq!(findings.files, 2);
    }

    #[test]
    fn folders_are_looked_through_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a").join("b");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(below.join("env"), format!("X=1\nK={KEY}\n")).unwrap();
        std::os::unix::fs::symlink(dir.path(), below.join("round")).unwrap();
        let mut findings = Findings::default();
        findings.path(dir.path());
        findings.path(&dir.path().join("missing"));
        assert_eq!(findings.keys.len(), 1);
        assert_eq!((findings.files, findings.unreadable), (1, 1));
    }
}
