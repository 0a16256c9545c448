//! `countersign completions`: completion scripts for shells.

use clap::{Args, Command};
use clap_complete::Shell;

use super::exit::{Exit, Failure};
use super::output;

/// Write a completion script for a shell to stdout.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign completions bash > /etc/bash_completion.d/countersign
  countersign completions zsh > \"${fpath[1]}/_countersign\"
  countersign completions fish > ~/.config/fish/completions/countersign.fish")]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Writes the script for the command line `cli`.
    pub(super) fn run(self, cli: &mut Command) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, cli, "countersign", &mut script);
        output::print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Done)
    }
}
