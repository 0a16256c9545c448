//! `countersign config`: checks and describes the configuration file, without a running gateway.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::api::partner::table;
use crate::config::annotate;
use crate::config::load::{Layers, environment, load};
use crate::config::places::places;
use crate::config::problem::{Problem, Problems};
use crate::config::root::Config as Settings;
use crate::config::schema;
use crate::daemon::examine;

use super::exit::{Exit, Failure};
use super::global::Global;
use super::output::{self, Format};

/// Check and describe the configuration file.
#[derive(Subcommand, Debug)]
pub(super) enum Config {
    Check(Check),
    Schema(Schema),
    Default(Default),
}

/// Read the configuration and open every file that it names, as `serve` would, and show every problem at once; exits
/// with 6 when there is one. Warnings about what can be used all the same do not change the exit code.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign config check
  countersign config check /etc/countersign/countersign.yaml --output json")]
pub(super) struct Check {
    /// The file; by default the file of --config or the default paths.
    file: Option<PathBuf>,
}

/// Print the JSON Schema of the configuration file, for editors.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  countersign config schema > schema.json")]
pub(super) struct Schema {}

/// Print a configuration file with every setting at its default, with descriptions.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  countersign config default > countersign.yaml")]
pub(super) struct Default {}

/// The default paths of the configuration.
const PLACES: [&str; 2] = ["countersign.yaml", "/etc/countersign/countersign.yaml"];

impl Config {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Failure> {
        match self {
            Self::Check(check) => check.run(global),
            Self::Schema(Schema {}) => {
                output::print(&schema::schema_text())?;
                Ok(Exit::Done)
            }
            Self::Default(Default {}) => {
                output::print(&annotate::annotated_default())?;
                Ok(Exit::Done)
            }
        }
    }
}

impl Check {
    fn run(self, global: &Global) -> Result<Exit, Failure> {
        let file = file(self.file.as_deref().or(global.config.as_deref()))?;
        let (warnings, problems) = match examine::check(&file) {
            Ok(loaded) => (loaded.warnings, None),
            Err(problems) => (Vec::new(), Some(problems)),
        };
        match (global.output, &problems) {
            (Format::Table, None) => {
                for warning in &warnings {
                    output::remark(&format!("warning: {warning}"));
                }
                output::print(&format!("{}: good\n", file.display()))?;
            }
            (Format::Table, Some(problems)) => output::remark(&problems.to_string()),
            (format, problems) => {
                output::print(&output::thing(
                    format,
                    &verdict(&file, problems.as_ref(), &warnings),
                    "",
                ))?;
            }
        }
        Ok(match problems {
            None => Exit::Done,
            Some(_) => Exit::Invalid,
        })
    }
}

fn verdict(file: &Path, problems: Option<&Problems>, warnings: &[Problem]) -> Value {
    json!({
        "file": file.display().to_string(),
        "valid": problems.is_none(),
        "problems": problems.map_or_else(|| json!([]), |problems| json!(problems)),
        "warnings": warnings,
    })
}

/// The configuration file: the named one, or the first default path that exists.
pub(super) fn file(named: Option<&Path>) -> Result<PathBuf, Failure> {
    named.map(Path::to_owned).or_else(found).ok_or_else(|| {
        let places = PLACES.join(" nor ");
        Failure::new(
            Exit::Invalid,
            format!("there is no configuration file: neither {places}"),
        )
        .help(
            "name a file with --config, or create one with `countersign config default > countersign.yaml`",
        )
    })
}

/// The first default path that exists.
pub(super) fn found() -> Option<PathBuf> {
    PLACES
        .iter()
        .map(PathBuf::from)
        .find(|place| place.exists())
}

/// Reads the configuration, with the environment's overrides.
pub(super) fn read(file: &Path) -> Result<Settings, Problems> {
    let layers = Layers {
        environment: environment(),
        endpoints: table::endpoints(),
        ..Layers::default()
    };
    load(file, &layers)
}

/// The local socket of the gateway with this configuration; the default socket without a configuration.
pub(super) fn admin_socket(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let (settings, damage) = places_of(named, "name the gateway's socket with --admin-socket")?;
    let socket = settings.admin_socket();
    if let Some(damage) = damage {
        output::remark(&format!(
            "{damage}; the gateway is looked for at {}",
            socket.display()
        ));
    }
    Ok(socket)
}

/// The file of the store that a gateway of the configuration has.
pub(super) fn store(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let (settings, damage) = places_of(named, "name the configuration with --config")?;
    let store = settings.store_path();
    if let Some(damage) = damage {
        output::remark(&format!(
            "{damage}; the store is looked for at {}",
            store.display()
        ));
    }
    Ok(store)
}

/// Only the places of a configuration, whose other mistakes are no concern of a running gateway, and a warning where
/// the file cannot be read as a whole.
fn places_of(named: Option<&Path>, help: &str) -> Result<(Settings, Option<String>), Failure> {
    let Some(file) = named.map(Path::to_owned).or_else(found) else {
        return Ok((Settings::default(), None));
    };
    let shown = file.display();
    let places = places(&file, &environment()).map_err(|error| {
        Failure::new(
            Exit::Invalid,
            format!("cannot read the configuration {shown}: {error}"),
        )
        .help(help)
    })?;
    let damage = places
        .damage
        .map(|damage| format!("warning: {shown} cannot be read as a whole ({damage})"));
    Ok((places.config, damage))
}
