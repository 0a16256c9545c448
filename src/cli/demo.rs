//! `countersign demo`: the whole gateway on one machine, with a tour.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::daemon::demo::run::{DemoOptions, demo};

use super::args::Global;
use super::exit::{Exit, Failure};
use super::output::Format;

/// Start a gateway with an echo upstream, and print a tour to paste into another terminal.
///
/// Creates an authority, an App, a partner's key pair and certificate, a server key and a configuration in one
/// directory, starts the gateway with them, and prints curl commands to try.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign demo
  countersign demo --upstream http://127.0.0.1:3000    with your own API as the upstream
  countersign demo --once                              run the tour and print the results")]
pub(super) struct Demo {
    /// The directory for all files; an existing one is used again.
    #[arg(long, value_name = "DIR", default_value = "./countersign-demo")]
    dir: PathBuf,
    /// The partners' address; the admin API and the metrics listen on loopback only.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// The URL of an API to use as the upstream instead of the echo.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Run every step of the tour, print the results, and exit with 0 only if all steps succeed.
    #[arg(long)]
    once: bool,
}

impl Demo {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Failure> {
        let held = demo(&DemoOptions {
            dir: self.dir,
            listen: self.listen,
            upstream: self.upstream,
            once: self.once,
            output_json: global.output == Format::Json,
        })?;
        Ok(if held { Exit::Done } else { Exit::Failed })
    }
}
