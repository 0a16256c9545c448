//! `countersign demo`: the whole gateway on one machine, with a tour.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::address::{InvalidListenAddress, ListenAddress};
use crate::daemon::demo::run::{DemoOptions, demo};

use super::exit::{Exit, Failure};
use super::global::Global;
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
    /// The partners' address: 127.0.0.1:8443, localhost:8443, or :8443 for every address; port 0 is any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443", value_parser = address)]
    listen: SocketAddr,
    /// The admin API's address; without it 127.0.0.1:7443, or a free port of this machine where that is taken.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    admin: Option<SocketAddr>,
    /// The address of metrics and health; without it 127.0.0.1:7444, or a free port where that is taken.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    ops: Option<SocketAddr>,
    /// The URL of an API to use as the upstream instead of the echo; all of its paths are behind the gateway.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Run every step of the tour, print the results, and exit with 0 only if all steps succeed.
    #[arg(long)]
    once: bool,
}

/// An address as the configuration takes it, and `localhost` besides.
fn address(text: &str) -> Result<SocketAddr, InvalidListenAddress> {
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    text.parse().map(|ListenAddress(address)| address)
}

impl Demo {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Failure> {
        let held = demo(&DemoOptions {
            dir: self.dir,
            listen: self.listen,
            admin: self.admin,
            ops: self.ops,
            upstream: self.upstream,
            once: self.once,
            output_json: global.output == Format::Json,
        })?;
        Ok(if held { Exit::Done } else { Exit::Failed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_written_as_people_write_it() {
        for (text, expected) in [
            ("127.0.0.1:8443", "127.0.0.1:8443"),
            ("localhost:0", "127.0.0.1:0"),
            (":8443", "[::]:8443"),
            ("[::1]:8443", "[::1]:8443"),
        ] {
            assert_eq!(address(text).unwrap(), expected.parse().unwrap(), "{text}");
        }
        for text in ["8443", "localhost", "localhost:", "elsewhere:8443", ":x"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
