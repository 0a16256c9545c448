//! `countersign cert`: the partners' certificates.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::daemon::inspect::csr_text;

use super::app_names::{name_app, name_apps};
use super::client::Admin;
use super::confirm::Confirmation;
use super::duration::Span;
use super::exit::{Exit, Failure};
use super::files;
use super::global::Global;
use super::listing::{self, Extent, Query};
use super::new_file::{NewFile, Readers};
use super::output::{self, Column, Format};
use super::plain::plain;

/// Sign, list and revoke the partners' certificates.
#[derive(Subcommand, Debug)]
pub(super) enum Cert {
    Sign(Sign),
    List(List),
    Get(Which),
    Revoke(Revoke),
}

/// Sign a partner's certificate signing request and register the certificate for its App.
///
/// Only the public key is taken from the request; the gateway sets the names, usages and lifetime.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign cert sign --app acme --name prod --csr partner.csr -o acme.pem
  ssh partner cat request.csr | countersign cert sign --app acme --csr - > acme.pem")]
pub(super) struct Sign {
    /// The App's name or id.
    #[arg(long)]
    app: String,
    /// The certificate's name, for example the place where it is used.
    #[arg(long, default_value = "default")]
    name: String,
    /// The request in PEM or DER; - reads it from stdin.
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
    /// The certificate's lifetime, for example 90d; the profile's lifetime when absent.
    #[arg(long, value_name = "DURATION")]
    lifetime: Option<Span>,
    /// Write the certificate and its chain to this file instead of to stdout.
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long, requires = "out")]
    force: bool,
}

/// List certificates.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign cert list --app acme --state active
  countersign cert list --expiring 30d --fail      exits with 8 if there is one, for a nightly check")]
pub(super) struct List {
    /// Only certificates of this App (name or id).
    #[arg(long)]
    app: Option<String>,
    /// Only certificates in this state.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only certificates that expire within this time, for example 30d.
    #[arg(long, value_name = "DURATION")]
    expiring: Option<Span>,
    /// Exit with 8 if a certificate expires within this time.
    #[arg(long, requires = "expiring")]
    fail: bool,
    #[command(flatten)]
    extent: Extent,
}

/// Show one certificate.
#[derive(Args, Debug)]
pub(super) struct Which {
    /// The certificate's id (crt_…), its serial number or its SHA-256 fingerprint.
    id: String,
}

/// Revoke a certificate: it is no longer valid, and its open connections are closed.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  countersign cert revoke crt_01j… --reason key-compromise --yes"
)]
pub(super) struct Revoke {
    /// The certificate's id (crt_…), its serial number or its SHA-256 fingerprint.
    id: String,
    /// The reason; after key-compromise, the same key is never signed again.
    #[arg(long, value_enum, default_value_t)]
    reason: RevocationReason,
    /// Wait until the revocation is in force. The command always waits; the option has no effect.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// The state of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    Pending,
    Active,
    Retiring,
    Revoked,
    Expired,
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

/// The reason of a revocation, in the terms of RFC 5280.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum RevocationReason {
    /// The partner is now another company.
    AffiliationChanged,
    /// The integration is no longer used.
    CessationOfOperation,
    /// Someone else may have the private key or the secret.
    KeyCompromise,
    /// The partner may no longer do this.
    PrivilegeWithdrawn,
    /// A newer credential has replaced it.
    Superseded,
    /// None of the others, or not to be disclosed.
    #[default]
    Unspecified,
}

impl RevocationReason {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::AffiliationChanged => "affiliation-changed",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::KeyCompromise => "key-compromise",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
            Self::Superseded => "superseded",
            Self::Unspecified => "unspecified",
        }
    }
}

const COLUMNS: &[Column] = &[
    Column("ID", "/id"),
    Column("APP", "/app"),
    Column("NAME", "/name"),
    Column("STATE", "/state"),
    Column("KEY", "/key"),
    Column("SERIAL", "/serial"),
    Column("NOT AFTER", "/not_after"),
];

impl Cert {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let admin = Admin::find(global)?;
        match self {
            Self::Sign(sign) => sign.run(&admin, global.output).await,
            Self::List(list) => list.run(&admin, global.output).await,
            Self::Get(which) => {
                let mut answer = admin
                    .get(&listing::path("/certificates", &which.id, ""))
                    .await?;
                name_app(&admin, global.output, &mut answer, "certificate").await;
                output::print(&output::thing(global.output, &answer, "certificate"))?;
                Ok(Exit::Done)
            }
            Self::Revoke(revoke) => revoke.run(&admin, global.output).await,
        }
    }
}

impl Sign {
    async fn run(self, admin: &Admin, format: Format) -> Result<Exit, Failure> {
        let body = self.body()?;
        let out = self.out.as_deref().filter(|out| *out != Path::new("-"));
        let out = out.map(|out| NewFile::open(out, Readers::Everyone, self.force));
        let out = out.transpose()?;
        let mut answer = admin.post("/certificates", body).await?;
        name_app(admin, format, &mut answer, "certificate").await;
        let chain = chain(&answer).ok_or_else(|| {
            Failure::new(
                Exit::Failed,
                "the gateway has signed the certificate, but its answer does not contain it",
            )
        })?;
        let about = output::thing(format, &answer, "certificate");
        let Some(out) = out else {
            hand_over(format, &about, &chain)?;
            return Ok(Exit::of_receipt(&answer));
        };
        let written = format!("Written to {}", out.path().display());
        if let Err(failure) = out.write(chain.as_bytes()) {
            hand_over(format, &about, &chain)?;
            return Err(
                failure.help("the certificate is signed and active; it is on stdout instead")
            );
        }
        output::print(&about)?;
        output::remark(&written);
        Ok(Exit::of_receipt(&answer))
    }

    fn body(&self) -> Result<Value, Failure> {
        Ok(json!({
            "app": self.app,
            "name": self.name,
            "csr": csr_text(&files::read(&self.csr, files::CSR_BYTES_MAX)?),
            "lifetime": self.lifetime.as_ref().map(Span::as_str),
        }))
    }
}

/// `cert sign … > acme.pem` gets the certificate; what is said about it stays on the terminal.
fn hand_over(format: Format, about: &str, chain: &str) -> Result<(), Failure> {
    match format {
        Format::Table => {
            output::remark(about);
            output::print(chain)
        }
        Format::Json | Format::Yaml => output::print(about),
    }
}

/// The leaf and then the authority's certificate, as TLS clients want their certificate file.
fn chain(answer: &Value) -> Option<String> {
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    let leaf = text("pem");
    match (leaf, text("chain_pem")) {
        (Some(leaf), Some(chain)) if !chain.contains(leaf.trim()) => {
            Some(format!("{}\n{chain}", leaf.trim_end()))
        }
        (_, Some(chain)) => Some(chain.to_owned()),
        (leaf, None) => leaf.map(str::to_owned),
    }
}

impl List {
    async fn run(self, admin: &Admin, format: Format) -> Result<Exit, Failure> {
        let query = Query::default()
            .with("app", self.app.as_deref())
            .with("state", self.state.map(State::as_str))
            .with("expiring", self.expiring.as_ref().map(Span::as_str));
        let mut listed = admin.list("/certificates", &query, &self.extent).await?;
        name_apps(admin, format, &mut listed.items).await;
        listed.print(format, COLUMNS)?;
        Ok(self.verdict(&listed.items))
    }

    fn verdict(&self, items: &[Value]) -> Exit {
        if self.fail && !items.is_empty() {
            Exit::ThresholdCrossed
        } else {
            Exit::Done
        }
    }
}

impl Revoke {
    async fn run(self, admin: &Admin, format: Format) -> Result<Exit, Failure> {
        let id = plain(&self.id);
        self.confirmation
            .ask(&format!("Revoke the certificate {id} permanently?"))?;
        let path = listing::path("/certificates", &self.id, "/revoke");
        let mut answer = admin
            .post(&path, json!({"reason": self.reason.as_str()}))
            .await?;
        name_app(admin, format, &mut answer, "certificate").await;
        output::print(&output::thing(format, &answer, "certificate"))?;
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_leaf_first_and_once() {
        for (answer, expected) in [
            (
                json!({"pem": "LEAF\n", "chain_pem": "LEAF\nCA\n"}),
                Some("LEAF\nCA\n"),
            ),
            (
                json!({"pem": "LEAF\n", "chain_pem": "CA\n"}),
                Some("LEAF\nCA\n"),
            ),
            (json!({"pem": "LEAF\n"}), Some("LEAF\n")),
            (json!({"chain_pem": "LEAF\nCA\n"}), Some("LEAF\nCA\n")),
            (json!({}), None),
        ] {
            assert_eq!(chain(&answer).as_deref(), expected, "{answer}");
        }
    }

    #[test]
    fn the_threshold_is_crossed_by_any_certificate_that_expires() {
        let list = |fail| List {
            app: None,
            state: None,
            expiring: Some("30d".parse().unwrap()),
            fail,
            extent: Extent {
                limit: 1,
                after: None,
            },
        };
        let some = [json!({})];
        assert_eq!(list(true).verdict(&some), Exit::ThresholdCrossed);
        assert_eq!(list(true).verdict(&[]), Exit::Done);
        assert_eq!(list(false).verdict(&some), Exit::Done);
    }
}
