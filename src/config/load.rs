//! File, environment and flags into one [`Config`], or all their problems.

use std::path::{Path, PathBuf};

use super::check::whole::check;
use super::decode::{Decoded, decode};
use super::document::{BYTES_MAX, Fault, Node, Place, Value, parse};
use super::fetch::{congestion_controls, fetch};
use super::file::{Surroundings, read_text};
use super::overlay::{is_ignored, keys_of_variable, lay};
use super::path::YamlPath;
use super::problem::{Finding, Problem, Problems, Shown, Source};
use super::root::Config;
use crate::domain::local::LocalEndpoints;

/// The layers of a configuration, in the order of precedence: flags > environment > file > default.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// Variables, read with [`environment`]; settings are named `COUNTERSIGN_SECTION__KEY`.
    pub environment: Vec<(String, String)>,
    /// Settings by their path (`listeners.partners.address`), with their values.
    pub flags: Vec<(String, String)>,
    /// The endpoints that the gateway answers itself, beside the configured routes.
    pub endpoints: LocalEndpoints,
}

/// The process's environment; variables that are not text are left out.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// Problems that do not refuse the configuration.
    pub warnings: Vec<Problem>,
}

/// The findings in the files that a configuration names.
#[derive(Debug, Default)]
pub struct Examined {
    pub faults: Vec<Finding>,
    pub warnings: Vec<Finding>,
}

/// Loads a configuration file, or reports all its problems.
pub fn load(path: &Path, layers: &Layers) -> Result<Config, Problems> {
    let loaded = load_examined(path, layers, |_| Examined::default())?;
    Ok(loaded.config)
}

/// The same, with the findings of `examine` in the files that it names. Unreadable files are reported already.
pub fn load_examined(
    path: &Path,
    layers: &Layers,
    examine: impl Fn(&Config) -> Examined,
) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let bytes_max = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX);
    match read_text(path, bytes_max) {
        Ok(Some(text)) => load_whole(&text, path, layers, examine),
        Ok(None) => Err(Problems::of_source(
            &name,
            "a configuration has at most 1 MiB".to_owned(),
        )),
        Err(error) => Err(Problems::of_source(
            &name,
            format!("cannot read it: {error}"),
        )),
    }
}

/// Loads a configuration from a text that stands, or could stand, at `path`.
#[cfg(any(test, fuzzing))]
pub fn load_text(text: &str, path: &Path, layers: &Layers) -> Result<Config, Problems> {
    let loaded = load_whole(text, path, layers, |_| Examined::default())?;
    Ok(loaded.config)
}

fn load_whole(
    text: &str,
    path: &Path,
    layers: &Layers,
    examine: impl Fn(&Config) -> Examined,
) -> Result<Loaded, Problems> {
    let mut sources = vec![Source {
        name: path.display().to_string(),
        text: Some(text.to_owned()),
    }];
    let mut root = match parse(text, 0) {
        Ok(root) => root,
        Err(faults) => return Err(unreadable(&faults, &sources)),
    };
    let mut problems = overlay(&mut root, layers, &mut sources);
    let written = root.clone();

    let Decoded {
        value,
        mut findings,
        pruned,
    } = decode::<Config>(&mut root);
    if let Some(mut config) = value {
        config.directory = directory_of(path);
        config.endpoints.clone_from(&layers.endpoints);
        let surroundings = Surroundings {
            directory: &config.directory.clone(),
            environment: &layers.environment,
        };
        let mut across = fetch(&mut config, &surroundings);
        let congestion_controls = congestion_controls();
        across.extend(check(&config, &written, congestion_controls.as_deref()));
        let Examined { faults, warnings } = examine(&config);
        across.extend(faults);
        // What leans on a refused part would be told of twice, or of what stands elsewhere in the list.
        across.retain(|finding| !pruned.iter().any(|pruned| leans_on(&finding.path, pruned)));
        findings.extend(across);
        let ignored = layers.environment.iter();
        let ignored = ignored.filter(|(name, value)| is_ignored(name, value));
        config.ignored_variables = ignored.map(|(name, _)| name.clone()).collect();
        if problems.is_empty() && findings.is_empty() {
            let withheld = sensitive_lines(&written, &warnings);
            let placed = |finding| placed(finding, &written, &sources, &withheld).1;
            let warnings = warnings.into_iter().map(placed).collect();
            return Ok(Loaded { config, warnings });
        }
    }
    let withheld = sensitive_lines(&written, &findings);
    let placed = findings
        .into_iter()
        .map(|finding| placed(finding, &written, &sources, &withheld));
    problems.extend(placed);
    problems.sort_by_key(|(place, _)| *place);
    Err(Problems(
        problems.into_iter().map(|(_, problem)| problem).collect(),
    ))
}

/// The directory of a file; `.` for a bare name.
pub(super) fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// True if the value at `path` may have changed its meaning when `pruned` was removed.
fn leans_on(path: &YamlPath, pruned: &YamlPath) -> bool {
    let around = pruned.parent();
    let beside = !around.steps().is_empty() && path.starts_with(&around);
    beside || path.starts_with(pruned) || pruned.starts_with(path)
}

/// Lays environment and flags over the file.
fn overlay(root: &mut Node, layers: &Layers, sources: &mut Vec<Source>) -> Vec<(Place, Problem)> {
    let variables = layers.environment.iter().filter_map(|(name, value)| {
        keys_of_variable(name, value).map(|keys| (name.clone(), keys, value))
    });
    let flags = layers.flags.iter().map(|(path, value)| {
        let keys: Vec<&str> = path.split('.').collect();
        (format!("--set {path}"), keys, value)
    });
    let mut problems = Vec::new();
    for (name, keys, value) in variables.chain(flags) {
        let source = sources.len();
        let outcome = lay(root, &keys, value, source);
        sources.push(Source { name, text: None });
        if let Err(error) = outcome {
            let place = Place {
                source,
                line: 1,
                column: 1,
                end_line: 1,
            };
            let finding = Finding::new(YamlPath::root(), error.to_string());
            problems.push((place, problem(finding, place, sources, None)));
        }
    }
    problems
}

/// The problems of a text that is not a configuration. Only keys of its lines are shown: the rest may be a secret.
fn unreadable(faults: &[Fault], sources: &[Source]) -> Problems {
    let told = faults
        .iter()
        .take(super::decode::FINDINGS_MAX)
        .map(|fault| {
            let finding = Finding::new(YamlPath::root(), fault.message.clone());
            problem(finding, fault.place, sources, None)
        });
    Problems(told.collect())
}

/// Lines that may hold a secret where a reference should stand.
fn sensitive_lines(root: &Node, findings: &[Finding]) -> Vec<Place> {
    let mut lines: Vec<Place> = findings
        .iter()
        .filter(|finding| finding.sensitive)
        .filter_map(|finding| root.find(&finding.path).map(|node| node.place))
        .collect();
    suspicious(root, &mut lines);
    lines
}

/// Keys that commonly hold secrets, even if this configuration has no such key.
const SECRET_KEYS: [&str; 8] = [
    "client_key",
    "key",
    "passphrase",
    "password",
    "pepper",
    "private_key",
    "secret",
    "token",
];

fn suspicious(node: &Node, lines: &mut Vec<Place>) {
    match &node.value {
        Value::Mapping(entries) => {
            for entry in entries {
                let key = entry.key.to_ascii_lowercase();
                let holds_secret = SECRET_KEYS.iter().any(|name| key.contains(name));
                match &entry.node.value {
                    Value::Scalar { text, .. } if holds_secret && !text.starts_with("${") => {
                        lines.push(entry.node.place);
                    }
                    _ => suspicious(&entry.node, lines),
                }
            }
        }
        Value::Sequence(nodes) => nodes.iter().for_each(|node| suspicious(node, lines)),
        Value::Null | Value::Pruned | Value::Scalar { .. } => {}
    }
}

fn placed(
    finding: Finding,
    root: &Node,
    sources: &[Source],
    withheld: &[Place],
) -> (Place, Problem) {
    let place = root.place_of(&finding.path, finding.at_key);
    let is_withheld = finding.sensitive
        || withheld.iter().any(|lines| {
            lines.source == place.source && (lines.line..=lines.end_line).contains(&place.line)
        });
    let shown = match (is_withheld, finding.at_key) {
        (true, _) => None,
        (false, true) => Some(Shown::Key),
        (false, false) => Some(Shown::Line),
    };
    (place, problem(finding, place, sources, shown))
}

fn problem(finding: Finding, place: Place, sources: &[Source], shown: Option<Shown>) -> Problem {
    let source = sources.get(place.source);
    let has_lines = source.is_some_and(|source| source.text.is_some());
    Problem {
        path: finding.path.to_string(),
        source: source.map_or_else(String::new, |source| source.name.clone()),
        line: has_lines.then_some(place.line),
        column: has_lines.then_some(place.column),
        message: finding.message,
        suggestion: finding.suggestion,
        snippet: source
            .zip(shown)
            .and_then(|(source, shown)| source.snippet(place, shown)),
    }
}
