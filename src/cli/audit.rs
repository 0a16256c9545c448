//! `countersign audit`: the audit trail.

use clap::{Args, Subcommand};

use super::app_names::name_apps;
use super::client::Admin;
use super::exit::{Exit, Failure};
use super::global::Global;
use super::listing::{Extent, Query};
use super::output::Column;

/// Read the audit trail of administrative changes.
#[derive(Subcommand, Debug)]
pub(super) enum Audit {
    List(List),
}

/// List changes, the newest first.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign audit list --app acme
  countersign audit list --subject crt_01j… --output json")]
pub(super) struct List {
    /// Only changes to this App (name or id) and to its credentials.
    #[arg(long)]
    app: Option<String>,
    /// Only this action, for example cert.revoke.
    #[arg(long)]
    action: Option<String>,
    /// Only changes to the object with this id.
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    #[command(flatten)]
    extent: Extent,
}

const COLUMNS: &[Column] = &[
    Column("AT", "/at"),
    Column("ACTION", "/action"),
    Column("SUBJECT", "/subject"),
    Column("APP", "/app"),
    Column("ACTOR", "/actor"),
];

impl Audit {
    pub(super) async fn run(self, global: &Global) -> Result<Exit, Failure> {
        let Self::List(list) = self;
        let query = Query::default()
            .with("app", list.app.as_deref())
            .with("action", list.action.as_deref())
            .with("subject", list.subject.as_deref());
        let admin = Admin::find(global)?;
        let mut listed = admin.list("/audit", &query, &list.extent).await?;
        name_apps(&admin, global.output, &mut listed.items).await;
        listed.print(global.output, COLUMNS)?;
        Ok(Exit::Done)
    }
}
