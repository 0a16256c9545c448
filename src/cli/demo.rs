//! `countersign demo`: all of it on one machine, with a walk-through.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::daemon::demo::run::{DemoOptions, demo};

use super::args::Global;
use super::exit::{Exit, Failure};
use super::output::Format;

/// Start everything at once with an echo upstream, and print a walk-through to paste into another terminal.
///
/// Makes an authority, an App, a partner's key pair and certificate, a server key and a configuration in one
/// directory, starts the gateway from them, and says what to try with curl.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign demo
  countersign demo --upstream http://127.0.0.1:3000    your own API behind it
  countersign demo --once                              take the walk yourself and say what was seen")]
pub(super) struct Demo {
    /// Where everything is kept; used again when it is there already.
    #[arg(long, value_name = "DIR", default_value = "./countersign-demo")]
    dir: PathBuf,
    /// The partners' address; the admin API and the metrics stay on this machine.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// An API to put behind the gateway instead of the echo.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Take every step of the walk-through, say what was seen, and exit with 0 only if all of it held.
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
