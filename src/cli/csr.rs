//! `countersign csr`: looks at a certificate signing request, without a gateway.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::daemon::inspect::csr_inspect;

use super::args::Global;
use super::exit::{Exit, Failure};
use super::files;
use super::output;

/// Look at certificate signing requests.
#[derive(Subcommand, Debug)]
pub(super) enum Csr {
    Inspect(Inspect),
}

/// Show what a request holds and whether it would be signed; exits with 6 when not. Works offline.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign csr inspect partner.csr
  openssl req -new -key my.key -subj /CN=me | countersign csr inspect -")]
pub(super) struct Inspect {
    /// The request in PEM or DER; - reads it from stdin.
    csr: PathBuf,
}

impl Csr {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Self::Inspect(inspect) = self;
        let bytes = files::read(&inspect.csr, files::CSR_BYTES_MAX)?;
        let report = csr_inspect(&bytes);
        output::print(&output::thing(global.output, &report, ""))?;
        Ok(verdict(&report))
    }
}

/// Anything but a clear yes is a no.
fn verdict(report: &Value) -> Exit {
    match report.get("verdict").and_then(Value::as_str) {
        Some("accepted") => Exit::Done,
        _ => Exit::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_an_accepted_request_is_a_success() {
        for (report, exit) in [
            (json!({"verdict": "accepted"}), Exit::Done),
            (
                json!({"verdict": "refused", "reason": "csr_key_weak"}),
                Exit::Invalid,
            ),
            (json!({}), Exit::Invalid),
        ] {
            assert_eq!(verdict(&report), exit, "{report}");
        }
    }
}
