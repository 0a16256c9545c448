//! `countersign csr`: inspects a certificate signing request, with or without a gateway.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::daemon::inspect::{csr_inspect, csr_text};

use super::client::Admin;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::output::{self, Format};
use super::plain::plain;
use super::{config, files};

/// Inspect certificate signing requests.
#[derive(Subcommand, Debug)]
pub(super) enum Csr {
    Inspect(Inspect),
}

/// Show a request's contents and whether it would be signed; exits with 6 if not.
///
/// The request is checked against a profile: the profile of the running gateway that --admin-url or --admin-socket
/// names, else of the file that --config names, else of the gateway on this machine, else the default profile. The
/// report names the profile.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign csr inspect partner.csr
  countersign csr inspect partner.csr --config /etc/countersign/countersign.yaml
  openssl req -new -key my.key -subj /CN=me | countersign csr inspect -")]
pub(super) struct Inspect {
    /// The request in PEM or DER; - reads it from stdin.
    csr: PathBuf,
}

impl Csr {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Self::Inspect(inspect) = self;
        let bytes = files::read(&inspect.csr, files::CSR_BYTES_MAX)?;
        let report = report(&bytes, global).await?;
        if global.output == Format::Table {
            output::print(&headline(&report))?;
        }
        output::print(&output::thing(global.output, &report, ""))?;
        Ok(verdict(&report))
    }
}

/// The report, from the most specific profile that is available.
async fn report(bytes: &[u8], global: &Global) -> Result<Value, Failure> {
    if global.admin.is_named() {
        return ask(bytes, global).await;
    }
    if let Some(file) = &global.config {
        return by_file(bytes, file);
    }
    let Some(file) = config::found() else {
        return Ok(judged_by(csr_inspect(bytes, None), "the default profile"));
    };
    // Somebody who may not read what the configuration points to can still look at a request.
    let Ok(settings) = config::read(&file) else {
        let place = file.display();
        output::remark(&format!(
            "{place} is not a valid configuration, so the default profile is used; see `countersign config check`"
        ));
        return Ok(judged_by(csr_inspect(bytes, None), "the default profile"));
    };
    match ask(bytes, global).await {
        Err(failure) if failure.exit == Exit::Unreachable => {
            let report = csr_inspect(bytes, Some(&settings));
            Ok(judged_by(report, &file.display().to_string()))
        }
        asked => asked,
    }
}

async fn ask(bytes: &[u8], global: &Global) -> Result<Value, Failure> {
    let admin = Admin::find(global)?;
    let body = json!({"csr": csr_text(bytes)});
    let report = admin.post("/csr/inspect", body).await?;
    Ok(judged_by(report, &format!("the gateway at {}", admin.at())))
}

fn by_file(bytes: &[u8], file: &Path) -> Result<Value, Failure> {
    let settings = config::read(file).map_err(|problems| {
        let message = format!("cannot read the profile from the configuration:\n{problems}");
        Failure::new(Exit::Invalid, message).help("see `countersign config check`")
    })?;
    let report = csr_inspect(bytes, Some(&settings));
    Ok(judged_by(report, &file.display().to_string()))
}

fn judged_by(mut report: Value, judge: &str) -> Value {
    if let Some(fields) = report.as_object_mut() {
        fields.insert("judged_by".to_owned(), judge.into());
    }
    report
}

/// The verdict, in one line.
fn headline(report: &Value) -> String {
    let text = |name: &str| report.get(name).and_then(Value::as_str).unwrap_or_default();
    match verdict(report) {
        Exit::Done => "accepted: this request would be signed\n\n".to_owned(),
        _ => format!(
            "refused ({}): {}\n\n",
            plain(text("reason")),
            plain(text("detail"))
        ),
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

    #[test]
    fn the_verdict_comes_first() {
        let refused =
            json!({"verdict": "refused", "reason": "csr_key_weak", "detail": "1024 bits"});
        assert_eq!(headline(&refused), "refused (csr_key_weak): 1024 bits\n\n");
        assert!(headline(&json!({"verdict": "accepted"})).starts_with("accepted: "));
    }

    #[test]
    fn a_report_says_by_what_it_was_made() {
        let report = judged_by(json!({"verdict": "accepted"}), "the default profile");
        assert_eq!(report["judged_by"], "the default profile");
    }
}
