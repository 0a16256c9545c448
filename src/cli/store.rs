//! `countersign store`: the file that holds Apps, credentials and the audit trail.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::daemon::backup::backup;

use super::config;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::output;

/// Back up the store.
#[derive(Subcommand, Debug)]
pub(super) enum Store {
    Backup(Backup),
}

/// Copy the store to a new file, whole, while the gateway runs or stands still.
///
/// The command reads the store's file itself, so it runs on the gateway's machine, as root or as the gateway's user.
/// Only its owner can read the copy.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  countersign store backup /var/backups/countersign-$(date +%F).db")]
pub(super) struct Backup {
    /// The new file; one that is there is never replaced.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Store {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Self::Backup(Backup { file }) = self;
        let store = config::store(global.config.as_deref())?;
        backup(&store, &file)?;
        output::remark(&format!("Copied {} to {}", store.display(), file.display()));
        Ok(Exit::Done)
    }
}
