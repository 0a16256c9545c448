//! `countersign serve`: the gateway itself.

use clap::Args;

use crate::config::load::Loaded;
use crate::daemon::examine;
use crate::daemon::serve::{ServeOptions, serve};

use super::config;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::output::Format;

/// Run the gateway until a signal stops it.
///
/// Prints one line when the gateway is ready, with all addresses that it listens on (JSON with --output json). TERM and
/// INT drain it (a second signal stops it at once), HUP reloads the configuration, USR1 reopens the log files.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign serve --config countersign.yaml
  COUNTERSIGN_LOG__LEVEL=debug countersign serve")]
pub(super) struct Serve {
    /// Begin with an empty store although an authority or a token signing key is there already: for the first start
    /// with an authority of your own. No certificate or key from before is known then.
    #[arg(long)]
    new_store: bool,
    /// Start although the sealing key does not open the signing keys of the store: for the start after the sealing key
    /// was lost. Signatures by these keys are refused; revoke the keys and make others.
    #[arg(long)]
    without_signing_keys: bool,
}

impl Serve {
    pub(super) fn run(&self, global: &Global) -> Result<Exit, Failure> {
        // A service manager must not start it again and again with the same bad configuration, hence a code of its own.
        let config_path = config::file(global.config.as_deref())
            .map_err(|failure| failure.exiting(Exit::ConfigInvalidAtStart))?;
        let Loaded { config, warnings } = examine::load(&config_path)
            .map_err(|problems| Failure::new(Exit::ConfigInvalidAtStart, problems.to_string()))?;
        serve(&ServeOptions {
            config,
            warnings,
            config_path,
            new_store: self.new_store,
            without_signing_keys: self.without_signing_keys,
            output_json: global.output == Format::Json,
        })?;
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_is_missing_or_bad_ends_with_78() {
        let dir = tempfile::tempdir().unwrap();
        let bad = dir.path().join("bad.yaml");
        std::fs::write(&bad, "version: 1\nlisteners: [").unwrap();
        for path in [dir.path().join("none.yaml"), bad] {
            let global = Global {
                config: Some(path),
                ..Global::default()
            };
            let serve = Serve {
                new_store: false,
                without_signing_keys: false,
            };
            let failure = serve.run(&global).unwrap_err();
            assert_eq!(failure.exit, Exit::ConfigInvalidAtStart, "{failure}");
        }
    }
}
