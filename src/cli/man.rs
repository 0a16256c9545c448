//! `countersign man`: the manual pages, generated from the help texts.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::args::Cli;
use super::exit::{Exit, Failure};
use super::output;

/// Write the manual pages, one for each command, to a directory.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  countersign man ./man && man ./man/countersign-cert-sign.1")]
pub(super) struct Man {
    /// The directory; it is created if it does not exist.
    #[arg(value_name = "DIR", default_value = "man")]
    dir: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let dir = self.dir.display();
        std::fs::create_dir_all(&self.dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &self.dir))
            .map_err(|error| Failure::io(format!("cannot write manual pages to {dir}"), &error))?;
        output::remark(&format!("Written to {dir}"));
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page() {
        let dir = tempfile::tempdir().unwrap();
        let man = Man {
            dir: dir.path().join("man1"),
        };
        man.run().unwrap();
        for page in [
            "countersign.1",
            "countersign-cert-sign.1",
            "countersign-key-rotate.1",
        ] {
            let text = std::fs::read_to_string(dir.path().join("man1").join(page)).unwrap();
            assert!(text.contains("countersign"), "{page}");
        }
    }
}
